"""The web application over a fake engine, for tests of pages."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from inference.engine.protocol import Engine
from tests.fake_engine import FakeEngine

MODEL = "gemma-3-270m"
HTMX = {"HX-Request": "true", "HX-Target": "div#answer"}


def settings(**changed: Any) -> Settings:
    """Defaults, whatever the environment says."""
    return Settings(_env_file=None, **changed)  # type: ignore[call-arg]


def make_app(
    engine: Engine | None = None, *, engines: Mapping[str, Engine] | None = None, database: Any = None, **changed: Any
) -> FastAPI:
    served = engines if engines is not None else {MODEL: engine or FakeEngine()}
    return create_app(settings(**changed), engines=served, database=database)


def client(app: FastAPI, **options: Any) -> TestClient:
    return TestClient(app, base_url="http://localhost:3000", raise_server_exceptions=True, **options)
