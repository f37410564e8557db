import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from app.live.question import Feature, Question, Turn, parse
from app.web.addresses import address
from inference.errors import BadInput


@settings(deadline=None)
@given(
    text=st.text(st.characters(exclude_characters="\x00\r", exclude_categories=["Cs"])),
    source=st.none() | st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True),
    feature=st.none() | st.integers(0, 999_999_999),
    token=st.none() | st.integers(0, 2000),
)
def test_an_address_leads_back_to_the_same_question(
    text: str, source: str | None, feature: int | None, token: int | None
) -> None:
    question = Question(text=text, source=source, feature=feature, token=token)
    query = address({}, "m", "live", query=question.query()).partition("?")[2]
    assert parse(QueryParams(query)) == question


EVERYTHING = Question(
    turns=(Turn("user", "Hi"), Turn("model", "Ho\nho")),
    source="9-starter-res-1k",
    feature=7,
    token=2,
    to=5,
    across=True,
    set="starter-res-1k",
    sort="relative",
    dense=2.5,
    off=(Feature("9-starter-res-1k", 7), Feature("5-starter-res-1k", 0)),
    against="Another text, with a comma",
    first=0,
)


def test_the_whole_state_is_in_the_address() -> None:
    query = address({}, "m", "live", query=EVERYTHING.query()).partition("?")[2]
    assert parse(QueryParams(query)) == EVERYTHING


def test_what_is_usual_leaves_no_trace_in_the_address() -> None:
    assert address({}, "m", "live", query=Question(text="a").query()) == "/m/live?text=a"


@pytest.mark.parametrize(
    ("cell", "source", "token", "across"),
    [("5-x@3", "5-x", 3, False), ("5-x@", "5-x", None, False), ("@3", "9-y", 3, True), ("@", "9-y", None, True)],
)
def test_a_cell_of_the_map_chooses_source_and_token(cell: str, source: str, token: int | None, across: bool) -> None:
    question = parse({"text": "a", "source": "9-y", "token": "8", "to": "9", "across": "1", "cell": cell})
    assert (question.source, question.token, question.to, question.across) == (source, token, None, across)


def test_a_feature_is_dropped_when_a_cell_of_another_source_is_chosen() -> None:
    given = {"text": "a", "source": "9-y", "feature": "7"}
    assert parse(given | {"cell": "9-y@1"}).feature == 7
    assert parse(given | {"cell": "5-x@1"}).feature is None


def test_a_feature_is_switched_off_and_on_again() -> None:
    off = parse({"text": "a", "switch": "9-y/7"}).off
    assert off == (Feature("9-y", 7),)
    assert parse({"text": "a", "off": "9-y/7,5-x/1", "switch": "9-y/7"}).off == (Feature("5-x", 1),)


def test_a_span_goes_from_its_first_token_to_its_last() -> None:
    assert (parse({"token": "9", "to": "4"}).token, parse({"token": "9", "to": "4"}).to) == (4, 9)
    assert parse({"token": "4", "to": "4"}).to is None
    assert parse({"to": "4"}).to is None


def test_turns_are_added_and_removed_by_buttons() -> None:
    chat = parse({"text": "Hi", "do": "chat"})
    assert chat.turns == (Turn("user", "Hi"),)
    fields = {"role0": "user", "turn0": "Hi"}
    assert parse(fields | {"do": "add"}).turns == (Turn("user", "Hi"), Turn("model", ""))
    fields |= {"role1": "model", "turn1": "Ho", "role2": "user", "turn2": "Who"}
    assert [turn.content for turn in parse(fields | {"do": "drop1"}).turns] == ["Hi", "Who"]
    assert parse(fields | {"do": "text"}) == Question(text="Hi")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"sort": "x"}, "is no order of features; write strength or relative"),
        ({"dense": "x"}, "is no share of tokens; write per cent"),
        ({"dense": "101"}, "is no share of tokens"),
        ({"dense": "nan"}, "is no share of tokens"),
        ({"off": "7"}, "is no feature; write it as"),
        ({"pick": "a/b"}, "is no number of a feature"),
        ({"cell": "a@b"}, "is no number of a token"),
        ({"turn0": "Hi", "role0": "robot"}, "is no role of a turn; write user, model or system"),
        ({f"turn{number}": "x" for number in range(33)}, "A chat has at most 32 turns here, not 33"),
        ({"off": ",".join(f"a/{number}" for number in range(17))}, "17 features are switched off; 16 at once"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(fields: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        parse({"text": "a"} | fields)


def test_the_form_wins_over_the_address_and_the_last_of_two_counts() -> None:
    question = parse(QueryParams("text=old&feature=1"), QueryParams("text=new&feature=2&feature=3"))
    assert question == Question(text="new", feature=3)


def test_line_breaks_of_forms_are_line_feeds() -> None:
    assert parse({"text": "a\r\nb"}).text == "a\nb"


@pytest.mark.parametrize("field", ["feature", "token"])
@pytest.mark.parametrize("written", ["x", "-1", "1.5", "1e3", "٣", "9" * 30, "1 2", "<script>"])
def test_what_is_no_number_is_refused_with_a_sentence(field: str, written: str) -> None:
    with pytest.raises(BadInput, match=f"no number of a {field}; write a whole number"):
        parse({field: written})


def test_blank_fields_are_not_given() -> None:
    assert parse({"text": "a", "source": " ", "feature": "", "token": " "}) == Question(text="a")
