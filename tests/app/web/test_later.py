"""What a start does not load, and how the rooms that join later behave to whoever comes before them."""

import asyncio
import json
import subprocess
import sys
from collections import Counter

import httpx2
import pytest

from app.access.routes import templates
from app.main import PROGRAMS
from app.programs import ROUTERS
from tests.pages import make_app

HEAVY = (
    "alembic", "app.api", "app.exchange", "app.neuronpedia", "app.programs", "fontTools", "huggingface_hub", "limits",
    "PIL", "polars", "procrastinate", "pyarrow", "safetensors", "tokenizers", "torch", "transformers", "typst",
)  # fmt: skip
FIRST_PAGE = """
import json, sys
from starlette.testclient import TestClient
from app.main import create_app
from app.settings import Settings

app = create_app(Settings(_env_file=None), engines={})
status = TestClient(app, base_url="http://localhost:3000").get("/").status_code
print(json.dumps([status, sorted(sys.modules)]))
"""


def test_a_start_and_the_first_page_load_nothing_that_can_wait() -> None:
    told = subprocess.run([sys.executable, "-c", FIRST_PAGE], capture_output=True, text=True, check=True)
    status, loaded = json.loads(told.stdout)
    assert status == 200
    assert {"app.home.pages", "app.features.pages", "app.live.pages", "sqlalchemy"} <= set(loaded)
    assert [name for name in HEAVY if name in loaded] == []


def test_the_beginning_of_an_address_tells_which_rooms_come_later() -> None:
    later = {route.path for router in ROUTERS for route in router.routes}  # type: ignore[attr-defined]
    assert [path for path in later if not PROGRAMS.match(path)] == []
    assert [path for path, _ in templates(make_app()) if PROGRAMS.match(path)] == []


def test_a_room_that_came_later_stands_where_it_was_announced() -> None:
    """Before the pages of models, which take any two words."""
    app = make_app()
    app.state.later.let_in_now()
    paths = [path for path, _ in templates(app)]
    assert paths[:2] == ["/static/{path:path}", "/favicon.ico"]
    assert paths.index("/api/{path:path}") < paths.index("/{model}/{source}")
    assert max(Counter((path, methods) for path, methods in templates(app)).values()) == 1


async def test_requests_that_come_before_a_room_wait_and_let_it_in_once() -> None:
    app = make_app()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost:3000") as client:
        assert (await client.get("/")).status_code == 200
        assert not any(path.startswith("/v1/") for path, _ in templates(app))
        asked = [client.post("/v1/tokenize", json={"text": "Paris"}) for _ in range(5)]
        assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 5
    assert [path for path, _ in templates(app)].count("/v1/tokenize") == 1


@pytest.mark.parametrize("path", ["/healthz", "/", "/gemma-3-270m", "/static/gemlens.css"])
async def test_pages_do_not_wait_for_rooms_of_programs(path: str) -> None:
    app = make_app()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost:3000") as client:
        assert (await client.get(path)).status_code == 200
    assert app.state.later.keeps("/api/feature")
