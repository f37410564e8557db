"""The two ways in which Neuronpedia's fields are written, and which of them a client gets.

Its server writes camelCase since August 2026, while the Python client on PyPI reads snake_case; neither reads the
other. That client names its generator in `User-Agent`, so it gets snake_case and everybody else camelCase. Requests may
be written in both. A few fields are camelCase, or snake_case, for everybody: those have that name here too.
"""

import re

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import Response

_GENERATED_CLIENT = re.compile(r"OpenAPI-Generator/[^/]*/python", re.ASCII)


class Asked(BaseModel):
    """A request's body. Types are strict, as they are there: `"5"` is no number."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Told(BaseModel):
    """A part of an answer. Made by `of`, without a second look at every number."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, use_attribute_docstrings=True
    )


def speaks_snake_case(user_agent: str) -> bool:
    return _GENERATED_CLIENT.match(user_agent) is not None


def written(told: Told, *, snake_case: bool) -> bytes:
    return told.__pydantic_serializer__.to_json(told, by_alias=not snake_case)


def response(request: Request, told: Told) -> Response:
    snake_case = speaks_snake_case(request.headers.get("user-agent", ""))
    return as_json(written(told, snake_case=snake_case))


def as_json(content: bytes) -> Response:
    return Response(content, media_type="application/json", headers={"Vary": "User-Agent", "Cache-Control": "no-store"})
