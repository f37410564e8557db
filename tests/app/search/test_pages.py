"""Addresses, names, pages, and what is refused with a sentence."""

from urllib.parse import quote

import pytest
from sqlalchemy import text
from starlette.datastructures import ImmutableMultiDict, QueryParams
from starlette.requests import Request

from app.catalogue.wanted import wanted
from app.search import queries
from app.search.elsewhere import inference_search
from app.search.question import Question, parse, read
from app.search.scope import scope_of
from app.store import labels, sources
from app.web.principal import Principal
from tests.app.search.conftest import Searched, features
from tests.app.world import HOSTILE, MODEL, SOURCES
from tests.pages import Parsed

NAME = SOURCES[1][0]
PATH = f"/{MODEL}/{NAME}/7"


@pytest.mark.parametrize(
    "pasted",
    [
        f"{NAME}/7",
        f"{NAME}:7",
        f"{NAME} 7",
        f"{MODEL}@{NAME}:7",
        f"/{MODEL}/{NAME}/7",
        f"https://www.neuronpedia.org/{MODEL}/{NAME}/7",
        f"http://localhost:3000/{MODEL}/{NAME}/7?embed=true",
        f"  <https://gemlens.example.org/base/{MODEL}/{NAME}/7.json>  ",
    ],
)
async def test_a_name_or_a_pasted_link_goes_straight_there(searched: Searched, pasted: str) -> None:
    answer = await searched.page(q=pasted)
    assert (answer.status_code, answer.headers.get("location")) == (302, PATH)


NOWHERE = {
    "https://www.neuronpedia.org/gemma-3-270m/12-gemmascope-2-res-16k/7": "is not installed here",
    "https://www.neuronpedia.org/gpt2-small/6-res-jb/650": "leads to no Gemma 3",
    "gpt2-small/6-res-jb/650": "leads to no Gemma 3",
    f"{NAME}/64": "64 features, 0 to 63; not 64",
    f"{MODEL}@{NAME}:64": "64 features, 0 to 63; 64 is past its end",
    "11-starter-res-64/3": NAME,
}


@pytest.mark.parametrize(("pasted", "said"), NOWHERE.items())
async def test_a_name_that_leads_nowhere_says_why_on_top_and_is_not_searched_for(
    searched: Searched, pasted: str, said: str
) -> None:
    answer = await searched.page(q=pasted)
    assert answer.status_code == 200
    before, _, results = answer.text.partition('<div id="results"')
    assert said in Parsed(before.partition('role="status"')[2]).text
    assert said in Parsed(results.partition("</section>")[0]).text
    assert 'class="hit"' not in results
    told = await searched.json(q=pasted)
    assert told["hits"] == []
    assert [one["way"] for one in told["tried"]] == ["id"]
    assert searched.engine.asked == []


async def test_a_name_that_leads_nowhere_can_still_be_searched_for_as_words(searched: Searched) -> None:
    page = Parsed((await searched.page(q=f"{NAME}/64", model=MODEL)).text)
    (link,) = [
        href for tag, attributes in page.elements if tag == "a" and "by=meaning" in (href := attributes["href"] or "")
    ]
    answer = await searched.client.get(link.replace("/search", "/search.json", 1))
    assert "words" in {one["way"] for one in answer.json()["tried"]}


@pytest.mark.parametrize("query", ["24-hour clock", "20-something", "3-year-old children", f'"{NAME}/64"'])
async def test_words_that_resemble_a_name_and_quoted_names_are_searched_for(searched: Searched, query: str) -> None:
    assert "words" in {one["way"] for one in (await searched.json(q=query))["tried"]}


async def test_the_command_that_is_named_is_one_that_the_cli_takes(searched: Searched) -> None:
    pasted = "https://www.neuronpedia.org/gemma-3-270m/12-gemmascope-2-res-16k/7"
    sentence = (await searched.json(q=pasted))["tried"][0]["sentence"]
    program, verb, name = sentence.split("`")[1].split(" ")
    assert (program, verb) == ("gemlens", "add")
    (found,) = wanted(name, model=None, revision=None)
    assert found.location == "hf:google/gemma-scope-2-270m-pt/resid_post/layer_12_width_16k_l0_medium"


async def test_a_source_that_the_filters_leave_out_is_not_called_missing(searched: Searched) -> None:
    answer = await searched.json(q=f"{NAME}/7", source=SOURCES[0][0])
    assert answer["tried"][0]["sentence"] == f"The filters leave {NAME} out."


async def test_data_shows_what_a_name_means_as_its_first_hit(searched: Searched) -> None:
    answer = await searched.json(q=f"{NAME}/7")
    first = answer["hits"][0]
    assert (first["path"], first["reasons"][0]["kind"]) == (PATH, "id")
    assert first["label"]
    numbered = await searched.json(q="7", source=NAME)
    assert numbered["hits"][0]["path"] == PATH


async def test_pages_follow_each_other_without_gap_or_repetition(searched: Searched) -> None:
    first = await searched.json(q="green numbers", by="meaning,words,token")
    assert first["pages"] > 2
    seen = []
    for page in range(1, first["pages"] + 1):
        answer = await searched.json(q="green numbers", by="meaning,words,token", page=page)
        assert [hit["rank"] for hit in answer["hits"]] == list(
            range(len(seen) + 1, len(seen) + 1 + len(answer["hits"]))
        )
        seen += features(answer)
    assert len(set(seen)) == len(seen) == first["found"]
    for number in (first["pages"] + 1, 9999):
        beyond = await searched.page(q="green numbers", by="meaning,words,token", page=number)
        assert beyond.status_code == 200
        assert f"There are only {first['pages']} pages" in beyond.text


async def test_every_page_says_why_each_hit_was_found(searched: Searched) -> None:
    page = Parsed((await searched.page(q="doctor")).text)
    assert {"why words", "why fires", "why meaning"} <= {
        str(attributes.get("class")) for tag, attributes in page.elements
    }
    assert any(tag == "mark" for tag, _ in page.elements)
    answer = await searched.json(q="doctor")
    links = {attributes.get("href") for tag, attributes in page.elements if tag == "a"}
    assert {hit["path"] for hit in answer["hits"]} <= links


async def test_edge_cases_have_clear_pages(searched: Searched) -> None:
    for query, status, said in (
        ({}, 200, "One box, five ways"),
        ({"q": "   "}, 200, "One box, five ways"),
        ({"q": "x"}, 200, "Too short to mean something"),
        ({"q": "?!…"}, 200, "There is no word in it"),
        ({"q": "x" * 10_000}, 400, "at most 500 characters, this one has 10,000"),
        ({"q": "qqxqqz"}, 200, "No feature was found"),
        ({"q": "a", "by": "smell"}, 400, "is no way to search"),
        ({"q": "a", "layer": "-1"}, 400, "is no layer"),
        ({"q": "a", "density": "0"}, 400, "more than 0"),
        ({"q": "a", "page": "0"}, 400, "'0' is no page; pages are counted from 1"),
        ({"q": "a", "page": "x"}, 400, "'x' is no page; pages are counted from 1"),
        ({"q": "token:"}, 400, "token: Monday Tuesday"),
        ({"q": "TOKEN: "}, 400, "token: Monday Tuesday"),
        ({"q": "text:  "}, 400, "Write the text behind it"),
        ({"q": "a", "method": "nope"}, 400, "human (people)"),
        ({"q": "a", "method": "nope"}, 400, "token-pattern"),
        ({"q": "a", "model": "gemma-3-271m"}, 404, MODEL),
        ({"q": "a", "source": "12-starter-res-65"}, 404, NAME),
        ({"q": "a", "layer": "4"}, 404, "9, 12"),
    ):
        query = {"by": "words,token", **query} if query.get("q") == "qqxqqz" else query
        answer = await searched.page(**query)
        assert answer.status_code == status, query
        assert said in Parsed(answer.text).text, query
        twin = await searched.client.get("/search.json", params=query)
        assert twin.status_code == status
        if status != 200:
            assert said in twin.json()["message"]
    answer = await searched.client.get("/search?q=%00")
    assert answer.status_code == 400
    assert "NUL" in answer.text


async def test_hostile_text_does_nothing_to_the_page(own: Searched) -> None:
    async with own.world.database.session() as session:
        source = await sources.find(session, MODEL, NAME)
    rows = [
        labels.NewLabel(index=number, text=f"zebra {token} zebra", method="human")
        for number, token in enumerate(HOSTILE)
    ]
    await labels.put(own.world.database, source, rows)
    for query in ("zebra", *HOSTILE, '"><script>alert(1)</script>'):
        html = (await own.page(q=query)).text
        assert "<script>alert" not in html
        assert '"><img>' not in html
        body = html.partition("<main")[2].partition("results")[2]
        assert "\u202e" not in body, repr(query)
        assert "\x07" not in body


async def test_private_sets_and_labels_are_found_by_their_owner_alone(own: Searched) -> None:
    async with own.world.database.session() as session:
        await session.execute(text("update source_set set visibility = 'private' where name = 'starter-transcoder-64'"))
        await session.execute(text("update label set visibility = 'unlisted' where text like 'bread%'"))
        visitor = Principal(None, "anonymous", frozenset({"read"}))
        seen = await scope_of(session, Question(), visitor)
        assert {place.set_name for place in seen.places} == {"starter-res-64"}
        assert await queries.words(session, seen, "bread dairy", depth=10) == []
        everyone = await scope_of(session, Question(), None)
        assert len(everyone.places) == 3
        assert await queries.words(session, everyone, "bread dairy", depth=10)


async def test_neuronpedias_search_addresses_lead_here(searched: Searched) -> None:
    answer = await searched.client.get(f"/search-explanations?q=doctor&modelId={MODEL}&sourceSet=starter-res-64")
    assert answer.status_code == 302
    assert answer.headers["location"] == f"/search?q=doctor&by=meaning%2Cwords&model={MODEL}&set=starter-res-64"


async def test_a_models_page_can_hand_its_question_over(searched: Searched) -> None:
    app = searched.world.app(searched.engine)

    def lead(query: str) -> str | None:
        scope = {"type": "http", "app": app, "query_string": query.encode(), "root_path": "/base", "headers": []}
        found = inference_search(Request(scope), MODEL)
        return None if found is None else found.headers["location"]

    assert lead("") is None
    layers = quote(f'["{NAME}"]')
    wanted = f"/base/search?q=text%3A+so+it+is&model={MODEL}&set=starter-res-64&source={NAME}"
    assert lead(f"q=so+it+is&sourceSet=starter-res-64&selectedLayers={layers}&sortIndexes=[]") == wanted
    assert lead(f"q={'x' * 600}") == f"/base/{MODEL}/live?text={'x' * 600}"


async def test_the_box_of_other_pages_leads_to_the_search(searched: Searched) -> None:
    house = searched.world.app(searched.engine).state.house
    template = house.templates.from_string(
        '{% from "shared/search_box.html" import search_box with context %}{{ search_box(q=\'"><b>\', model="m") }}'
    )
    page = Parsed(template.render(url=lambda *parts: "/base/" + "/".join(parts)))
    (form,) = [attributes for tag, attributes in page.elements if tag == "form"]
    assert (form["action"], form["method"]) == ("/base/search", "get")
    assert page.having(name="q", type="search")[0]["value"] == '"><b>'
    assert page.having(name="model")[0]["value"] == "m"


async def test_a_link_from_elsewhere_does_not_make_the_device_read(searched: Searched) -> None:
    await searched.client.get(
        "/search", params={"q": "text: the doctor asked"}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert searched.engine.asked == []


def test_addresses_are_read_back_as_they_were_written() -> None:
    for question in (
        Question(),
        Question(q=' "a b"\n&c=d', by=("words", "id"), model="m", set="s", source="9-x", layer=0, density=0.5,
                 method="human", dead=True, page=3),
    ):  # fmt: skip
        written = "&".join(
            f"{name}={quote(str(value))}" for name, value in question.query().items() if value is not None
        )
        assert parse(QueryParams(written), longest=500) == question


def test_what_a_query_is_read_as_follows_from_its_form() -> None:
    assert read("medical words").text is None
    assert read("one two three four").text == "one two three four"
    assert read("“so it is”").text == "so it is"
    assert read("“so it is”").words == '"so it is"'
    assert read("text: leading  blanks ").text == "leading  blanks "
    assert read("token: Monday Tuesday").tokens == ("Monday", "Tuesday")
    assert read("a b c d").tokens == ()
    assert parse(ImmutableMultiDict([("by", "id"), ("by", "words")]), longest=9).by == ("words", "id")
