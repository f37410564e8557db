"""The page's objects, made from the OpenAPI document alone: so page and document cannot disagree."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from app.api.document import Document, first_sentence
from app.api.twins import Twin

DEEPEST = 3
"""Of objects within objects, how many are unfolded into names with dots."""
PLAIN_LINE = 100
"""An example that fits one line of a terminal is written on one."""


@dataclass(frozen=True)
class Field:
    """Of a request or an answer; `name` has dots where it lies in another."""

    name: str
    kind: str
    needed: bool
    about: str


@dataclass(frozen=True)
class Parameter(Field):
    place: str
    """`path` or `query`."""


@dataclass(frozen=True)
class Refusal:
    status: str
    about: str


@dataclass(frozen=True)
class Route:
    anchor: str
    method: str
    path: str
    sentence: str
    more: str
    """What follows the sentence."""
    needs: str
    """Of a key, on a shared server."""
    parameters: tuple[Parameter, ...]
    fields: tuple[Field, ...]
    """Of the body."""
    answer: tuple[Field, ...]
    answer_kind: str
    refusals: tuple[Refusal, ...]
    address: str
    """Of the example, below the server's."""
    body: str | None
    """Of the example, as it is sent."""
    body_type: str
    curl: str
    python: str

    @property
    def changes(self) -> bool:
        """What is kept, so that the example is sent only on purpose."""
        return self.needs in ("write", "admin")

    @property
    def here(self) -> bool:
        return "501" not in {refusal.status for refusal in self.refusals}


@dataclass(frozen=True)
class Group:
    name: str
    about: str
    routes: tuple[Route, ...]

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z]+", "-", self.name.lower())


@dataclass(frozen=True)
class Api:
    server: str
    version: str
    groups: tuple[Group, ...]
    pages: tuple[Twin, ...]


def api(told: Document, *, server: str, pages: tuple[Twin, ...]) -> Api:
    """`server` is the whole address that examples are written with."""
    schemas = told["components"]["schemas"]
    found: dict[str, list[Route]] = {tag["name"]: [] for tag in told["tags"]}
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            route = _route(method.upper(), path, operation, schemas, server=server)
            found.setdefault(operation["tags"][0], []).append(route)
    about = {tag["name"]: tag["description"] for tag in told["tags"]}
    groups = tuple(Group(name, about.get(name, ""), tuple(routes)) for name, routes in found.items() if routes)
    return Api(server, told["info"]["version"], groups, pages)


def _route(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any], *, server: str) -> Route:
    parameters = tuple(
        Parameter(
            one["name"],
            kind_of(one["schema"], schemas),
            bool(one.get("required")),
            one.get("description", ""),
            one["in"],
        )
        for one in operation.get("parameters", ())
    )
    body_type, media = _first(operation.get("requestBody", {}))
    example = media.get("example")
    body = example if isinstance(example, str) or example is None else written(example)
    address = _address(path, operation.get("parameters", ()))
    answer_kind, answer = _first(operation["responses"].get("200", {}))
    about = " ".join(operation.get("description", "").split())
    sentence = first_sentence(about) if about else operation["summary"]
    return Route(
        anchor=re.sub(r"[^a-zA-Z0-9]+", "-", f"{method}{path}").strip("-").lower(),
        method=method,
        path=path,
        sentence=sentence,
        more=about.removeprefix(sentence).strip(),
        needs=operation["x-needs"] or "",
        parameters=parameters,
        fields=tuple(fields(media.get("schema", {}), schemas)) if body_type == "application/json" else (),
        answer=tuple(fields(answer.get("schema", {}), schemas)),
        answer_kind=answer_kind,
        refusals=tuple(
            Refusal(status, one["description"]) for status, one in operation["responses"].items() if status >= "300"
        ),
        address=address,
        body=body,
        body_type=body_type,
        curl=curl(method, server + address, body, body_type),
        python=python(method, server + address, body, body_type),
    )


def _first(told: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The first form that a body has, and what is said of it."""
    for kind, media in told.get("content", {}).items():
        return kind, media
    return "", {}


def _address(path: str, parameters: Any) -> str:
    query = []
    for one in parameters:
        given = one.get("example")
        if one["in"] == "path" and given is not None:
            path = path.replace(f"{{{one['name']}}}", quote(str(given), safe=""))
        elif one["in"] == "query" and given is not None:
            query.append((one["name"], given))
    return f"{path}?{urlencode(query)}" if query else path


def written(value: Any) -> str:
    line = json.dumps(value, ensure_ascii=False)
    return line if len(line) <= PLAIN_LINE else json.dumps(value, ensure_ascii=False, indent=2)


def curl(method: str, url: str, body: str | None, body_type: str) -> str:
    if body is None:
        return f"curl -s {'-X POST ' if method == 'POST' else ''}{shlex.quote(url)}"
    if body_type == "application/json":
        return f"curl -s {shlex.quote(url)} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    return f"curl -s {shlex.quote(url)} -H 'Content-Type: {body_type}' --data-binary @prompts.txt -o answer.parquet"


def python(method: str, url: str, body: str | None, body_type: str) -> str:
    """With what every notebook has."""
    if body is None:
        return f"import requests\n\nrequests.{method.lower()}({url!r}).json()"
    if body_type == "application/json":
        value = re.sub(r"\b(true|false|null)\b(?=[,}\]\s])", lambda m: _PYTHON[m[1]], body)
        return f"import requests\n\nrequests.post({url!r}, json={value}).json()"
    return (
        "import io, pandas, requests\n\n"
        f"prompts = open('prompts.txt', 'rb').read()\n"
        f"answer = requests.post({url!r}, data=prompts, headers={{'Content-Type': {body_type!r}}})\n"
        "pandas.read_parquet(io.BytesIO(answer.content))"
    )


_PYTHON = {"true": "True", "false": "False", "null": "None"}


# --- shapes -------------------------------------------------------------------------------------------------------


def fields(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[Field]:
    """Of an object, or of the objects in a list; nothing for what has no fields."""
    yield from _within(schema, schemas, before="", depth=0)


def _within(schema: Mapping[str, Any], schemas: Mapping[str, Any], *, before: str, depth: int) -> Iterator[Field]:
    plain = _object(schema, schemas)
    if plain is None or depth == DEEPEST:
        return
    inner, many = plain
    start = f"{before}[]." if many and before else "[]." if many else f"{before}." if before else ""
    needed = inner.get("required", ())
    for name, one in inner.get("properties", {}).items():
        yield Field(start + name, kind_of(one, schemas), name in needed, one.get("description", ""))
        yield from _within(one, schemas, before=start + name, depth=depth + 1)


def _object(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool] | None:
    """The object that a shape is or lists, and whether it lists it."""
    for option in (*schema.get("anyOf", ()), schema):
        option = _meant(option, schemas)
        if option.get("properties"):
            return option, False
        if option.get("type") == "array":
            inner = _meant(option.get("items", {}), schemas)
            if inner.get("properties"):
                return inner, True
    return None


def kind_of(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """In a word or two."""
    schema = _meant(schema, schemas)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind_of(one, schemas) for one in schema["anyOf"]))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        inner = kind_of(schema.get("items", {}), schemas)
        return f"list of {_SEVERAL.get(inner, inner)}"
    return _WORDS.get(str(schema.get("type")), "anything")


_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null",
          "object": "object"}  # fmt: skip
_SEVERAL = {"text": "texts", "whole number": "whole numbers", "number": "numbers", "object": "objects"}


def _meant(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    return schema
