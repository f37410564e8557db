"""Requests that nobody thought of, made from the document by schemathesis and sent over HTTP: none of them is a 500,
and every answer is as the document says, refusals in their one shape included."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from inference.engine import protocol as p
from tests.app.neuronpedia.web.conftest import Web, WebEngine, site
from tests.fake_engine import PROVENANCE

FEW, MANY = 2, 200
HELD = [response_schema_conformance, status_code_conformance, content_type_conformance]


class Engine(WebEngine):
    """Gives every site that it is asked for."""

    async def ask(self, request: Any, /) -> Any:
        if not isinstance(request, p.Sites):
            return await super().ask(request)
        prompts = []
        for prompt in request.prompts:
            tokens = self._tokens(prompt)
            values = site(1 if request.last_only else len(tokens.ids))
            prompts.append(p.PromptSites(tokens=tokens, values=(values,) * len(request.sites)))
        return p.SitesAnswer(provenance=PROVENANCE, prompts=tuple(prompts))


@contextlib.asynccontextmanager
async def served(web: Web) -> AsyncIterator[str]:
    """The house behind a real server; its address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        app = web.world.app(Engine(), requests_per_minute=0)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


def look(operation: Any, mode: Any, url: str, session: requests.Session, *, examples: int) -> None:
    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, derandomize=examples == FEW, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @hypothesis.given(case=operation.as_strategy(mode))
    def one(case: Any) -> None:
        answer = case.call(base_url=url, session=session, timeout=30)
        assert answer.status_code != 500, case.as_curl_command()
        if answer.status_code >= 400:
            told = answer.json()
            assert told["error"], case.as_curl_command()
            assert told["message"].strip().endswith((".", "?", "!", ")", "…")), (told, case.as_curl_command())
        elif answer.status_code == 200:
            case.validate_response(answer, checks=HELD)

    one()


async def all_of(web: Web, *, examples: int) -> int:
    async with served(web) as url:
        return await asyncio.to_thread(_all_of, url, examples=examples)


def _all_of(url: str, *, examples: int) -> int:
    count = 0
    with requests.Session() as session:
        document = session.get(f"{url}/api/openapi.json", timeout=60).json()
        schema = schemathesis.openapi.from_dict(document)
        for found in schema.get_all_operations():
            operation = found.ok()
            if operation.tags == ["not here"]:
                look(operation, schemathesis.GenerationMode.POSITIVE, url, session, examples=1)
            else:
                for mode in schemathesis.GenerationMode:
                    # Nothing wrong can be sent where nothing is asked.
                    with contextlib.suppress(hypothesis.errors.Unsatisfiable):
                        look(operation, mode, url, session, examples=examples)
            count += 1
    return count


async def test_no_request_to_any_route_is_a_500(web: Web) -> None:
    assert await all_of(web, examples=FEW) > 100


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_no_request_of_very_many_is_a_500(web: Web) -> None:
    assert await all_of(web, examples=MANY) > 100
