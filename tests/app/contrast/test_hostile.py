"""Prompts, names and files of any text make a page that does nothing and a table that keeps them."""

from typing import Any

from tests.app.contrast.conftest import Planted, sentences
from tests.app.live.test_hostile import PAYLOADS, assert_harmless
from tests.app.world import World
from tests.pages import MODEL, Parsed, client, make_app

CONTRAST = f"/{MODEL}/contrast"


def test_hostile_prompts_and_names_stay_text(engine: Planted) -> None:
    with client(make_app(engine)) as browser:
        for name in PAYLOADS[:12]:
            page = browser.post(CONTRAST, data={"a": "one\ntwo", "b": "", "name_a": name[:40], "name_b": name[:40]})
            assert_harmless(page.text)
        sent = {"a": "\n".join(PAYLOADS), "b": "\n".join(sentences(10)), "form": "lines", "name_a": PAYLOADS[0]}
        page = browser.post(CONTRAST, data=sent)
    assert page.status_code == 200
    assert_harmless(page.text)
    text = Parsed(page.text).text
    assert PAYLOADS[0] in text
    assert "\u202e" not in text


async def test_hostile_prompts_come_back_as_they_were(world: World, engine: Planted, body: dict[str, Any]) -> None:
    hostile = [one for one in PAYLOADS if one.strip()]
    async with world.client(engine) as browser:
        told = (await browser.post(f"{CONTRAST}.json", json={**body, "a": hostile, "name_a": '"><b>'})).json()
        page = await browser.get(f"/s/{told['id']}")
        form = await browser.get(CONTRAST, params={"view": told["id"]})
    assert told["asked"]["a"] == hostile
    for answer in (page, form):
        assert answer.status_code == 200
        assert_harmless(answer.text)


def test_hostile_choices_are_refused_in_a_sentence(engine: Planted) -> None:
    with client(make_app(engine)) as browser:
        for payload in PAYLOADS:
            for field in ("pooling", "form", "seed", "from_end"):
                answer = browser.post(CONTRAST, data={"a": "x", "b": "y", field: payload})
                assert answer.status_code == 400
                assert_harmless(answer.text)
            assert_harmless(browser.get(CONTRAST, params={"example": payload}).text)
