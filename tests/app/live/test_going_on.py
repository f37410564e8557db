"""The model goes on with a text: streamed for scripts, an address for those without."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from inference.engine import protocol as p
from tests.fake_engine import FakeEngine
from tests.pages import MODEL, client, make_app

CONTINUE = f"/{MODEL}/live/continue"
STREAMED = {"Accept": "text/event-stream"}


def events(text: str) -> list[tuple[str, dict[str, object]]]:
    return [(name, json.loads(data)) for name, data in re.findall(r"event: (.*)\ndata: (.*)\n\n", text)]


def test_tokens_come_one_by_one_and_then_the_address_of_the_longer_text() -> None:
    with client(make_app()) as browser:
        answer = browser.post(CONTINUE, data={"text": "Once", "tokens": "3", "feature": "7"}, headers=STREAMED)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    told = events(answer.text)
    assert [name for name, _ in told] == ["token", "token", "token", "done"]
    place = urlsplit(str(told[-1][1]["place"]))
    assert parse_qs(place.query) == {"text": ["Once word0 word1 word2"], "feature": ["7"]}
    assert told[-1][1]["finished"] == "length"


def test_without_a_script_the_answer_leads_to_the_longer_text() -> None:
    with client(make_app(), follow_redirects=False) as browser:
        answer = browser.post(CONTINUE, data={"text": "Once", "tokens": "2"})
    assert answer.status_code == 303
    assert parse_qs(urlsplit(answer.headers["Location"]).query) == {"text": ["Once word0 word1"]}


def test_a_chat_gets_the_models_turn() -> None:
    engine = FakeEngine()
    with client(make_app(engine)) as browser:
        answer = browser.post(CONTINUE, data={"role0": "user", "turn0": "Hi", "tokens": "2"}, headers=STREAMED)
    query = parse_qs(urlsplit(str(events(answer.text)[-1][1]["place"])).query)
    assert query == {"role0": ["user"], "turn0": ["Hi"], "role1": ["model"], "turn1": [" word0 word1"]}
    assert engine.asked[0].prompt.generation_prompt


def test_what_was_wished_for_is_asked_of_the_engine() -> None:
    engine = FakeEngine()
    with client(make_app(engine)) as browser:
        browser.post(CONTINUE, data={"text": "a", "tokens": "2", "temperature": "0", "seed": "5"}, headers=STREAMED)
    (wish,) = engine.asked
    assert (wish.max_tokens, wish.temperature, wish.seed) == (2, 0.0, 5)


def test_a_failure_on_the_way_is_told_in_the_stream() -> None:
    engine = FakeEngine()
    engine.failure = p.EngineError("out_of_memory", "No memory was left.")
    with client(make_app(engine)) as browser:
        answer = browser.post(CONTINUE, data={"text": "a", "tokens": "9"}, headers=STREAMED)
    assert events(answer.text)[-1] == ("problem", {"message": "No memory was left."})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"text": ""}, "There is no text to go on with"),
        ({"text": "a", "tokens": "0"}, "tokens is '0'; it goes from 1 to 256"),
        ({"text": "a", "tokens": "nan"}, "tokens is 'nan'"),
        ({"text": "a", "temperature": "9"}, "temperature is '9'; it goes from 0 to 5"),
        ({"text": "a", "seed": "-1"}, "is no seed"),
        ({"turn0": "Hi", "role0": "user", "turn1": "Ho", "role1": "model"}, "The last turn is not the user's"),
    ],
)
def test_what_cannot_be_wished_for_is_answered_with_a_sentence(fields: dict[str, str], sentence: str) -> None:
    with client(make_app()) as browser:
        answer = browser.post(CONTINUE, data=fields, headers={"Accept": "application/json"})
    assert answer.status_code == 400
    assert sentence in answer.json()["message"]
