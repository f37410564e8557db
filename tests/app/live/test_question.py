import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from app.live.question import Question, parse
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
