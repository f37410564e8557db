"""The star of a feature: its button's answers, and who may press it."""

from tests.app.shelves.conftest import MODEL, SOURCE, House

NAME = f"{MODEL}/{SOURCE}/7"
HTMX = {"HX-Request": "true", "HX-Target": "span.star"}


async def pressed(house: House, name: str = NAME) -> bool:
    answer = await house.client.get("/lists/star", params={"feature": name}, headers=HTMX)
    assert answer.status_code == 200, answer.text
    assert "<html" not in answer.text
    return 'aria-pressed="true"' in answer.text


async def press(house: House, do: str, name: str = NAME, status: int = 200) -> str:
    answer = await house.client.post("/lists/star", data={"feature": name, "do": do}, headers=HTMX)
    assert answer.status_code == status, answer.text
    return answer.text


async def starred(house: House) -> list[str]:
    page = await house.client.get("/lists/stars")
    found = (await house.client.get(page.headers["location"] + ".json")).json()
    return [f"{one['model']}/{one['source']}/{one['index']}" for one in found["entries"]]


async def test_a_star_is_put_and_taken_and_doing_it_twice_changes_nothing(house: House) -> None:
    assert not await pressed(house)
    for _ in range(2):
        assert 'value="take"' in await press(house, "put")
        assert await pressed(house)
        assert await starred(house) == [NAME]
    assert not await pressed(house, f"{MODEL}/{SOURCE}/8")
    for _ in range(2):
        assert 'value="put"' in await press(house, "take")
        assert not await pressed(house)
    assert await starred(house) == []


async def test_without_scripts_a_star_leads_to_the_stars(house: House) -> None:
    answer = await house.client.post("/lists/star", data={"feature": NAME, "do": "put"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/lists/stars")
    assert await starred(house) == [NAME]


async def test_what_cannot_have_a_star_is_told(house: House) -> None:
    assert "is nothing to do with a star" in await press(house, "both", status=400)
    assert "names no feature" in await press(house, "put", "7", status=400)
    assert "is not on this server" in await press(house, "put", f"{MODEL}/1-nothing-here/7", status=404)


async def test_on_a_shared_server_stars_are_ones_own(house: House) -> None:
    one, other = await house.key("one", "write"), await house.key("other", "write")
    for client in (one, other):
        answer = await client.get("/lists/star", params={"feature": NAME}, headers=HTMX)
        assert 'aria-pressed="false"' in answer.text
        if client is one:
            await one.post("/lists/star", data={"feature": NAME, "do": "put"}, headers=HTMX)
    visitor = await house.key("reader", "read")
    refused = await visitor.get("/lists/star", params={"feature": NAME}, headers=HTMX)
    assert refused.status_code == 400
    assert "sign in" in refused.text
