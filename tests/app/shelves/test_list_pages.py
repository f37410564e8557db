"""Lists by their pages: made, filled, ordered, annotated, taken along and brought back, with plain forms."""

import csv
import io
import json
from typing import Any

import pytest
from sqlalchemy import text

from tests.app.shelves.conftest import HOSTILE, MODEL, SOURCE, House
from tests.pages import Parsed
from tests.tables import both

NAME = f"{MODEL}/{SOURCE}"


async def post(house: House, path: str, *, status: int = 303, **fields: Any) -> str:
    answer = await house.client.post(path, data=fields)
    assert answer.status_code == status, answer.text
    return str(answer.headers.get("location", answer.text))


async def page(house: House, path: str, *, status: int = 200) -> Parsed:
    answer = await house.client.get(path)
    assert answer.status_code == status, answer.text
    return Parsed(answer.text)


async def view(house: House, path: str) -> Any:
    answer = await house.client.get(f"{path}.json")
    assert answer.status_code == 200, answer.text
    return answer.json()


def order(found: Any) -> list[str]:
    return [entry["index"] for entry in found["entries"]]


async def made(house: House, *numbers: int, title: str = "kept") -> str:
    return await post(house, "/lists", title=title, features="\n".join(f"{NAME}/{number}" for number in numbers))


async def test_a_list_is_made_filled_ordered_and_deleted_by_forms(house: House) -> None:
    here = await made(house, 1, 2)
    await post(house, f"{here}/add", features=f"https://www.neuronpedia.org/{NAME}/3 about cats\n{MODEL}@{SOURCE}:4")
    found = await view(house, here)
    assert order(found) == ["1", "2", "3", "4"]
    assert found["entries"][2]["note"] == "about cats"
    numbers = {entry["index"]: entry["number"] for entry in found["entries"]}
    await post(house, f"{here}/items/{numbers['4']}", do="up", place="4")
    assert order(await view(house, here)) == ["1", "2", "4", "3"]
    found = await view(house, here)
    await post(house, f"{here}/items/{found['entries'][3]['number']}", do="move", place="1")
    assert order(await view(house, here)) == ["3", "1", "2", "4"]
    found = await view(house, here)
    assert found["entries"][0]["note"] == "about cats"
    await post(house, f"{here}/items/{found['entries'][1]['number']}", do="down", place="2")
    found = await view(house, here)
    assert order(found) == ["3", "2", "1", "4"]
    await post(house, f"{here}/items/{found['entries'][0]['number']}", do="note", note="of dogs")
    await post(house, f"{here}/items/{found['entries'][3]['number']}", do="remove")
    found = await view(house, here)
    assert (order(found), found["entries"][0]["note"]) == (["3", "2", "1"], "of dogs")
    await post(house, here, title="other", description="d", test_text="t")
    shown = await page(house, here)
    assert "other" in shown.text
    assert "of dogs" in shown.text
    assert await post(house, f"{here}/delete") == "/lists"
    await page(house, here, status=404)


async def test_a_list_shows_what_is_known_of_its_features(house: House) -> None:
    here = await made(house, 6, 63)
    found = await view(house, here)
    given = house.world.given[SOURCE][6]
    assert found["entries"][0]["peak"] == pytest.approx(given.peak)
    assert found["entries"][0]["density"] == pytest.approx(given.density)
    assert found["entries"][0]["title"] == "capitals of European countries"
    assert found["entries"][0]["example"]["peak"] == pytest.approx(given.peak)
    assert found["entries"][1]["dead"] is True
    assert "never fires" in (await page(house, here)).text


async def test_what_people_write_does_nothing_to_the_page(house: House) -> None:
    here = await post(house, "/lists", title=HOSTILE, description=HOSTILE, features=f"{NAME}/1 {HOSTILE}")
    for path in (here, "/lists", f"/lists?feature={NAME}/2"):
        answer = await house.client.get(path)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "{{ 7" in answer.text
        for name, attributes in Parsed(answer.text).elements:
            assert name != "script" or attributes.get("src")
            assert not any(attribute.startswith("on") for attribute in attributes), attributes
        assert "⟨RLO⟩" in answer.text
    quick = json.dumps([{"modelId": MODEL, "layer": SOURCE, "index": 1, "description": HOSTILE}])
    answer = await house.client.get("/quick-list", params={"name": HOSTILE, "features": quick})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text


async def test_a_list_says_what_of_it_is_gone(house: House) -> None:
    here = await made(house, 1, 2)
    await post(house, f"{here}/add", features=f"{NAME}/63\n{MODEL}/30-other/5\ngemma-3-27b/40-far-away/6")
    async with house.database.session() as session:
        await session.execute(text("update source set width = 60 where name = :name"), {"name": SOURCE})
    found = await view(house, here)
    assert found["gone"] == 3
    reasons = [entry["gone"] for entry in found["entries"]]
    assert reasons[:2] == ["", ""]
    assert "has no such feature" in reasons[2]
    assert "30-other is not on this server." in reasons[3]
    assert "nor the model gemma-3-27b" in reasons[4]
    assert "3 of the list’s 5 features are not on this server" in (await page(house, here)).text
    async with house.database.session() as session:
        await session.execute(text("update source set current_harvest_id = null where name = :name"), {"name": SOURCE})
        await session.execute(text("delete from source where name = :name"), {"name": SOURCE})
    found = await view(house, here)
    assert found["gone"] == 5
    assert order(found) == ["1", "2", "63", "5", "6"]


async def test_an_index_past_the_end_of_a_source_that_is_here_is_refused(house: House) -> None:
    here = await made(house, 1)
    refused = await house.client.post(f"{here}/add", data={"features": f"{NAME}/2\n{NAME}/64"})
    assert refused.status_code == 400
    assert f"{NAME}/64 cannot be put on a list: {SOURCE} has no such feature here" in Parsed(refused.text).text
    assert "numbered 0 to 63" in Parsed(refused.text).text
    new = await house.client.post("/lists", data={"title": "new", "features": f"{NAME}/64"})
    assert new.status_code == 400
    assert order(await view(house, here)) == ["1"]
    assert len((await house.client.get("/lists.json")).json()["lists"]) == 1


async def test_a_list_goes_out_and_comes_back_the_same(house: House) -> None:
    notes = [HOSTILE, 'a "quoted", one\nover two lines', "=1+1", ""]
    features = [
        {"modelId": MODEL, "layer": SOURCE, "index": str(number), "description": note}
        for number, note in enumerate(notes)
    ] + [{"modelId": "gemma-3-4b", "layer": "9-elsewhere", "index": "7", "description": "not here"}]
    told = await house.api(
        "list/new-with-features", {"name": HOSTILE, "description": "d", "testText": "t", "features": features}
    )
    exported = await house.client.get(f"/lists/{told['id']}/export.json")
    assert exported.headers["content-disposition"].startswith("attachment")
    again = await post(house, "/lists/import", text=exported.text)
    assert (await house.client.get(f"{again}/export.json")).json() == exported.json()
    assert exported.json()["features"] == features
    as_csv = (await house.client.get(f"/lists/{told['id']}.csv")).text
    rows = list(csv.DictReader(io.StringIO(as_csv)))
    assert [(row["index"], row["note"]) for row in rows] == [
        (feature["index"], feature["description"]) for feature in features
    ]
    third = await post(house, "/lists/import", text=as_csv, title=HOSTILE)
    assert (await house.client.get(f"{third}/export.json")).json()["features"] == features
    whole = await house.api("list/get", {"listId": told["id"]})
    fourth = await post(house, "/lists/import", text=json.dumps(whole))
    assert (await house.client.get(f"{fourth}/export.json")).json()["features"] == features


async def test_a_file_is_imported_too(house: House) -> None:
    files = {"file": ("list.csv", f"model,source,index\n{MODEL},{SOURCE},5\n".encode(), "text/csv")}
    answer = await house.client.post("/lists/import", files=files, data={"title": "from a file"})
    assert answer.status_code == 303
    assert order(await view(house, answer.headers["location"])) == ["5"]


NO_LISTS = (
    ("", "no list in this"),
    ("[1]", "is an object"),
    ("{", "no JSON"),
    ("[]", "No feature"),
    ('[{"modelId": "m", "layer": "s"}]', "needs a model"),
    ('[{"modelId": "m", "layer": "s", "index": "-1"}]', "no feature's number"),
    ('[{"modelId": "m", "layer": "s", "index": {"a": 1}}]', "where a text belongs"),
    ('{"features": 5}', "JSON array"),
    ("a,b\n1,2\n", "is missing among them"),
    ('model,source,index\n"x', "no CSV"),
    ("[" * 100_000, "no JSON"),
    ('[{"modelId": "m\\u0000", "layer": "s", "index": "1"}]', "NUL"),
    ('[{"modelId": "\\ud800", "layer": "s", "index": "1"}]', "surrogate"),
)


async def test_what_is_no_list_is_refused_with_a_sentence(house: House) -> None:
    for content, said in NO_LISTS:
        shown = await post(house, "/lists/import", status=400, text=content)
        assert said in Parsed(shown).text, content[:80]


async def test_a_quick_list_is_its_address_and_can_be_kept(house: House) -> None:
    features = [
        {"modelId": MODEL, "layer": SOURCE, "index": "[[3, 4], [5]]"},
        {"modelId": MODEL, "layer": "x", "index": 1},
    ]
    params = {"name": "From a paper", "features": json.dumps(features)}
    for path in ("/quick-list", "/quick-list/"):
        answer = await house.client.get(path, params=params)
        assert answer.status_code == 200
    shown = Parsed(answer.text)
    assert "From a paper" in shown.text
    assert "1 of the list’s 4 features is not on this server" in shown.text
    found = (await house.client.get("/quick-list.json", params=params)).json()
    assert order(found) == ["3", "4", "5", "1"]
    assert (await house.client.get("/lists.json")).json() == {"lists": []}
    (kept,) = shown.having(name="text")
    here = await post(house, "/lists/import", text=kept["value"])
    listed = await view(house, here)
    assert (listed["title"], order(listed)) == ("From a paper", ["3", "4", "5", "1"])
    quick = next(
        str(link["href"]) for name, link in (await page(house, here)).elements
        if name == "a" and "quick-list" in str(link.get("href"))
    )  # fmt: skip
    assert order((await house.client.get(quick.replace("quick-list", "quick-list.json"))).json()) == order(listed)
    for wrong in ({}, {"features": "x"}, {"features": "[]"}, {"features": "[[]]"}, {"features": "5"}):
        answer = await house.client.get("/quick-list", params=wrong)
        assert answer.status_code == 400


async def test_a_long_list_comes_in_pages(house: House) -> None:
    here = await made(house, *range(60))
    first, second = await view(house, here), (await house.client.get(f"{here}.json?page=2")).json()
    assert order(first) + order(second) == [str(number) for number in range(60)]
    assert second["entries"][0]["place"] == 51
    await page(house, f"{here}?page=3", status=404)
    await page(house, f"{here}?page=x", status=400)


async def test_stars_have_a_page_and_are_no_list_among_lists(house: House) -> None:
    await house.api("bookmark/add", {"modelId": MODEL, "layer": SOURCE, "index": 3})
    answer = await house.client.get("/lists/stars")
    assert order(await view(house, answer.headers["location"])) == ["3"]
    assert (await house.client.get("/lists.json")).json() == {"lists": []}


async def test_others_see_a_list_and_no_way_to_change_it(house: House) -> None:
    ada, bob = await house.key("ada", "write"), await house.key("bob", "write")
    told = await house.api("list/new", {"name": "ada's"}, client=ada)
    here = f"/lists/{told['id']}"
    assert "Add features" in (await ada.get(here)).text
    seen = await bob.get(here)
    assert seen.status_code == 200
    assert "Add features" not in seen.text
    answer = await bob.post(f"{here}/add", data={"features": f"{NAME}/1"}, headers={"accept": "application/json"})
    assert answer.status_code == 403
    assert told["id"] not in (await bob.get("/lists.json")).text
    assert (await ada.post(here, data={"visibility": "public"})).status_code == 303
    assert told["id"] in (await bob.get("/lists.json")).text
    assert (await ada.post(here, data={"visibility": "private"})).status_code == 303
    assert (await bob.get(here)).status_code == 404


async def test_lists_and_the_features_of_one_are_tables(house: House) -> None:
    here = await made(house, 3, 1, title='with "marks", and a comma')
    await post(house, f"{here}/add", features=f"gemma-3-4b/9-elsewhere/7 {HOSTILE}")
    told = await view(house, here)
    rows, table = await both(house.client, here)
    assert [row["index"] for row in rows] == ["3", "1", "7"]
    for exact, entry in zip(table.to_pylist(), told["entries"], strict=True):
        assert (exact["note"], exact["title"], exact["density"]) == (entry["note"], entry["title"], entry["density"])
        assert exact["missing"] == entry["gone"]
    assert table.schema.metadata[b"name"].decode() == told["title"]
    lists = (await house.client.get("/lists.json")).json()["lists"]
    rows, table = await both(house.client, "/lists")
    assert [row["title"] for row in rows] == [one["title"] for one in lists]
    assert list(zip(table["id"].to_pylist(), table["features"].to_pylist(), strict=True)) == [
        (one["id"], one["features"]) for one in lists
    ]
    assert (await house.client.get("/lists/nothing.parquet")).status_code == 404
