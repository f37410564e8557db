"""The web application over a fake engine, for tests of pages."""

from collections.abc import Mapping
from html.parser import HTMLParser
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


class Parsed(HTMLParser):
    """A page as a browser would read it: its elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    @property
    def text(self) -> str:
        return "".join(self._text)

    def having(self, **wanted: str) -> list[dict[str, str | None]]:
        """The attributes of elements that carry all of these."""
        return [
            attributes
            for _, attributes in self.elements
            if all(attributes.get(name) == value for name, value in wanted.items())
        ]

    def classes(self) -> list[str]:
        """Of tokens, in order."""
        return [
            str(attributes.get("class"))
            for tag, attributes in self.elements
            if tag == "label" and "class" in attributes
        ]
