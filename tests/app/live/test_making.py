"""While nothing is installed and a first source is being made, pages say how far it is and go on by themselves."""

from dataclasses import dataclass

from fastapi import FastAPI

from app.main import create_app
from app.web.sources import EngineCatalogue
from tests.fake_engine import FakeEngine
from tests.pages import HTMX, MODEL, Parsed, client, settings


@dataclass(frozen=True)
class Making:
    fraction: float
    sentence: str
    failed: bool = False


class NothingInstalled(EngineCatalogue):
    async def models(self) -> tuple[str, ...]:
        return (MODEL,)


def making_app(state: Making | None) -> FastAPI:
    async def making(model: str) -> Making | None:
        assert model == MODEL
        return state

    return create_app(settings(), engines={MODEL: FakeEngine()}, catalogue=NothingInstalled({}), making=making)


def test_the_live_page_says_how_far_it_is_and_asks_again() -> None:
    with client(making_app(Making(0.43, "Trained on 64,000 tokens."))) as browser:
        page = Parsed(browser.get(f"/{MODEL}/live").text)
    assert "A first dictionary is being made" in page.text
    assert "Trained on 64,000 tokens." in page.text
    assert [bar["value"] for bar in page.having(id="progress")] == ["0.430"]
    assert page.having(**{"hx-trigger": "load delay:2000ms, submit"})


def test_a_text_is_kept_until_there_is_something_to_show() -> None:
    with client(making_app(Making(0.9, "Almost."))) as browser:
        answer = browser.post(f"/{MODEL}/live", data={"text": "Hello"}, headers=HTMX)
    page = Parsed(answer.text)
    assert answer.status_code == 200
    assert "The answer appears here" in page.text
    assert any(field.get("value") == "Hello" for field in page.having(name="text"))


def test_what_failed_is_said_once_and_not_asked_for_again() -> None:
    with client(making_app(Making(0.2, "The first dictionary could not be made: no space.", failed=True))) as browser:
        page = Parsed(browser.get(f"/{MODEL}/live").text)
    assert "could not be made: no space." in page.text
    assert not page.having(**{"hx-trigger": "load delay:2000ms, submit"})


def test_home_says_it_in_a_line() -> None:
    with client(making_app(Making(0.43, "Trained."))) as browser:
        page = Parsed(browser.get("/").text)
    assert "A first dictionary is being made: 43" in page.text


def test_with_nothing_being_made_the_page_says_how_to_install() -> None:
    with client(making_app(None)) as browser:
        page = Parsed(browser.get(f"/{MODEL}/live").text)
    assert "gemlens add" in page.text
    assert not page.having(id="progress")


def test_the_json_twin_says_when_to_come_back() -> None:
    with client(making_app(Making(0.43, "Trained on 64,000 tokens."))) as browser:
        answer = browser.get(f"/{MODEL}/live.json", params={"text": "Hello"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json()["message"] == "A first dictionary is being made: Trained on 64,000 tokens."


def test_a_json_question_without_a_text_is_told_its_address() -> None:
    with client(making_app(None)) as browser:
        answer = browser.get(f"/{MODEL}/live.json")
    assert answer.status_code == 400
    assert f"/{MODEL}/live.json?text=" in answer.json()["message"]
