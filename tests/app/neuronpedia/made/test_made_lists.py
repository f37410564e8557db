"""Lists and stars by the web API: what is written is what is read, to the field."""

from typing import Any

import pytest
from sqlalchemy import text

from tests.app.shelves.conftest import HOSTILE, MODEL, SOURCE, SOURCES, House

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def feature(index: int | str, source: str = SOURCE, **more: Any) -> dict[str, Any]:
    return {"modelId": MODEL, "layer": source, "index": index, **more}


async def made(house: House, *some: Any, name: str = "kept") -> str:
    told = await house.api("list/new-with-features", {"name": name, "features": list(some)})
    return str(told["id"])


async def numbers(house: House, list_id: str) -> list[str]:
    return [one["index"] for one in (await house.api("list/get", {"listId": list_id}))["neurons"]]


async def test_a_new_list_is_told_field_by_field(house: House) -> None:
    told = await house.api("list/new", {"name": "kept", "description": "why", "testText": "a cat"})
    assert set(told) == {
        "id", "name", "description", "defaultTestText", "userId", "createdAt", "updatedAt", "url", "user",
    }  # fmt: skip
    assert told["url"] == f"http://localhost/lists/{told['id']}"
    assert (told["name"], told["description"], told["defaultTestText"]) == ("kept", "why", "a cat")
    assert (told["userId"], told["user"]) == ("home", {"name": "home"})
    listed = await house.api("list/list")
    assert listed == [{name: value for name, value in told.items() if name not in ("url", "user")}]


async def test_features_come_back_in_order_with_notes_and_all_that_is_known(house: House) -> None:
    list_id = await made(house, feature(7, description=HOSTILE), feature("3"), feature(5, source=SOURCES[0][0]))
    whole = await house.api("list/get", {"listId": list_id})
    assert [(one["layer"], one["index"], one["description"]) for one in whole["neurons"]] == [
        (SOURCE, "7", HOSTILE), (SOURCE, "3", ""), (SOURCES[0][0], "5", ""),
    ]  # fmt: skip
    assert set(whole["neurons"][0]) == {
        "modelId", "layer", "index", "listId", "description", "addedAt", "userId", "neuron",
    }  # fmt: skip
    given = house.world.given[SOURCE][7]
    neuron = whole["neurons"][0]["neuron"]
    assert neuron["maxActApprox"] == pytest.approx(given.peak)
    assert len(neuron["activations"]) == 3
    assert neuron["activations"][0]["maxValue"] == pytest.approx(given.peak)
    assert neuron["explanations"]
    from_web = (await house.api("features", [{"modelId": MODEL, "layer": SOURCE, "index": 7, "maxActsToReturn": 3}]))[0]
    assert set(from_web) == set(neuron)
    assert from_web["pos_str"] == neuron["pos_str"]


async def test_adding_is_all_or_nothing(house: House) -> None:
    list_id = await made(house, feature(1))
    added = await house.api("list/add-features", {"listId": list_id, "featuresToAdd": [feature(2, description="n")]})
    assert [(one["index"], one["description"]) for one in added] == [("2", "n")]
    again = await house.api(
        "list/add-features", {"listId": list_id, "featuresToAdd": [feature(3), feature(1)]}, status=400
    )
    assert f"{SOURCE}/1 is in the list already" in again["message"]
    unknown = await house.api(
        "list/add-features", {"listId": list_id, "featuresToAdd": [feature(3), feature(64)]}, status=404
    )
    assert "has no such feature here: its 64 are numbered 0 to 63" in unknown["message"]
    assert set(unknown) == {"error", "message"}
    assert await numbers(house, list_id) == ["1", "2"]


async def test_what_is_not_here_keeps_its_place_and_comes_back(house: House) -> None:
    list_id = await made(house, feature(1), feature(4, source="30-other-set"), feature(2))
    whole = await house.api("list/get", {"listId": list_id})
    assert [one["neuron"] is None for one in whole["neurons"]] == [False, True, False]
    async with house.database.session() as session:
        await session.execute(text("update source set current_harvest_id = null where name = :name"), {"name": SOURCE})
        await session.execute(text("delete from source where name = :name"), {"name": SOURCE})
    whole = await house.api("list/get", {"listId": list_id})
    assert [(one["layer"], one["index"], one["neuron"]) for one in whole["neurons"]] == [
        (SOURCE, "1", None), ("30-other-set", "4", None), (SOURCE, "2", None),
    ]  # fmt: skip
    async with house.database.session() as session:
        await session.execute(text("update source set name = :new where name = :old"),
                              {"new": SOURCE, "old": SOURCES[0][0]})  # fmt: skip
    whole = await house.api("list/get", {"listId": list_id})
    assert [one["neuron"] is None for one in whole["neurons"]] == [False, True, False]


async def test_notes_names_and_features_change_and_lists_go(house: House) -> None:
    list_id = await made(house, feature(1), feature(2), feature(3))
    edited = await house.api("list/edit-feature", {"listId": list_id, **feature(2), "description": "two"})
    assert edited["description"] == "two"
    removed = await house.api("list/remove", {"listId": list_id, **feature("1")})
    assert removed["index"] == "1"
    assert await numbers(house, list_id) == ["2", "3"]
    changed = await house.api("list/update", {"listId": list_id, "name": HOSTILE, "description": "d"})
    assert (changed["name"], changed["description"], changed["defaultTestText"]) == (HOSTILE, "d", None)
    await house.api("list/remove", {"listId": list_id, **feature(1)}, status=404)
    assert await house.api("list/delete", {"listId": list_id}) is True
    gone = await house.api("list/get", {"listId": list_id}, status=404)
    assert gone["error"] == "not_found"


async def test_a_star_given_twice_is_one_star(house: House) -> None:
    first = await house.api("bookmark/add", feature(3))
    assert set(first) == {"id", "modelId", "layer", "index", "userId", "createdAt"}
    await house.api("bookmark/add", feature("3"))
    await house.api("bookmark/add", feature(9))
    assert [one["index"] for one in await house.api("user/bookmarks")] == ["9", "3"]
    assert await house.api("list/list") == []
    await house.api("bookmark/delete", feature(3))
    assert [one["index"] for one in await house.api("user/bookmarks")] == ["9"]
    await house.api("bookmark/delete", feature(3), status=404)
    await house.api("bookmark/add", feature(64), status=404)


async def test_every_route_takes_a_slash_at_its_end(house: House) -> None:
    assert (await house.client.post("/api/list/list/")).json() == []
    assert (await house.client.post("/api/user/bookmarks/")).json() == []
    assert (await house.client.post("/api/vector/list-owned/")).json() == {"vectors": []}
    assert len((await house.client.post("/api/model/list/")).json()) == 1


async def test_on_a_shared_server_lists_belong_to_who_made_them(house: House) -> None:
    ada, bob = await house.key("ada", "write"), await house.key("bob", "write")
    told = await house.api("list/new", {"name": "ada's"}, client=ada)
    assert told["userId"] == "ada"
    list_id = told["id"]
    await house.api("list/add-features", {"listId": list_id, "featuresToAdd": [feature(1)]}, client=ada)
    # Unlisted: who has the address may read it.
    assert (await house.api("list/get", {"listId": list_id}, client=bob))["name"] == "ada's"
    assert await house.api("list/list", client=bob) == []
    for path, body in (
        ("update", {"name": "bob's"}),
        ("delete", {}),
        ("add-features", {"featuresToAdd": [feature(2)]}),
        ("remove", feature(1)),
        ("edit-feature", {**feature(1), "description": "x"}),
    ):
        refused = await house.api(f"list/{path}", {"listId": list_id, **body}, status=403, client=bob)
        assert refused["error"] == "forbidden"
    async with house.database.session() as session:
        await session.execute(text("update shelf set visibility = 'private'"))
    await house.api("list/get", {"listId": list_id}, status=404, client=bob)
    assert [one["name"] for one in await house.api("list/list", client=ada)] == ["ada's"]
    await house.api("bookmark/add", feature(5), client=ada)
    assert await house.api("user/bookmarks", client=bob) == []
    reader = await house.key("eve", "read")
    await house.api("list/new", {"name": "x"}, status=403, client=reader)
