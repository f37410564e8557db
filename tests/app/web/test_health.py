import re

from inference.engine.protocol import EngineError
from tests.fake_engine import FakeEngine
from tests.pages import MODEL, client, make_app


class Database:
    def __init__(self, trouble: str | None) -> None:
        self.trouble = trouble

    async def ready(self) -> str | None:
        return self.trouble


def test_the_process_says_that_it_is_alive() -> None:
    with client(make_app()) as browser:
        assert browser.get("/healthz").text == "ok\n"


def test_ready_means_that_pages_can_be_read_even_while_the_model_is_loading() -> None:
    engine = FakeEngine()
    engine.state, engine.doing, engine.progress = "loading", "Reading the weights.", 0.25
    with client(make_app(engine, database=Database(None))) as browser:
        answer = browser.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "database": "ok",
        "engines": {MODEL: {"state": "loading", "doing": "Reading the weights.", "progress": 0.25}},
    }


def test_a_database_in_trouble_is_not_ready() -> None:
    with client(make_app(database=Database("Two migrations are missing."))) as browser:
        answer = browser.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["database"] == "Two migrations are missing."


def test_an_engine_that_is_away_is_told_and_does_not_matter() -> None:
    class Away(FakeEngine):
        async def ask(self, request: object, /) -> object:
            raise EngineError("unavailable", "Nobody listens.")

    with client(make_app(Away())) as browser:
        answer = browser.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["engines"][MODEL]["state"] == "away"


def test_metrics_name_routes_and_never_what_people_asked() -> None:
    with client(make_app()) as browser:
        browser.get(f"/{MODEL}/live?text=secret")
        browser.get("/secret/of/nobody/at/all")
        browser.request("SECRET", "/")
        text = browser.get("/metrics").text
    assert "secret" not in text.lower()
    assert 'gemlens_requests_total{method="GET",route="/{model}/live",status="200"} 1.0' in text
    assert re.search(r'gemlens_requests_total\{method="GET",route="unmatched",status="404"\} 1\.0', text)
