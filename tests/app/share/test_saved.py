"""A text of one's own on a feature, kept under a short address."""

from tests.app.world import MODEL, World
from tests.fake_engine import FakeEngine
from tests.pages import HTMX, Parsed

FEATURE = f"/{MODEL}/9-starter-res-64/6"
LONG = "A sentence that is said again. " * 200


async def test_a_long_text_is_kept_with_its_feature_and_handed_on(world: World) -> None:
    async with world.client(FakeEngine()) as client:
        tried = await client.post(FEATURE, data={"text": LONG}, headers={**HTMX, "HX-Source": "form#ask"})
        assert "HX-Push-Url" not in tried.headers
        (form,) = Parsed(tried.text).having(action=f"{FEATURE}/save")
        kept = await client.post(str(form["action"]), data={"text": LONG})
        view = kept.headers["Location"]
        page = await client.get(view)
        embed = await client.get(f"{view}?embed=true")
        data = (await client.get(f"{view}.json")).json()
        card = await client.get(f"/cards{view}.png")
        described = (await client.get("/oembed", params={"url": f"http://localhost{view}"})).json()
        empty = await client.post(f"{FEATURE}/save", data={"text": "  "})
        async with world.database.raw() as connection:
            await connection.execute(
                "insert into saved_view (id, kind, form, body) values ('other', 'contrast', 1, '{}')"
            )
        without = [await client.get(path) for path in ("/cards/s/other.png", "/oembed?url=http://localhost/s/other")]
        beyond = await client.post(f"/{MODEL}/9-starter-res-64/64/save", data={"text": "a"})
    assert kept.status_code == 303
    assert view.startswith("/s/")
    for answer in (page, embed):
        assert answer.status_code == 200
        assert LONG in Parsed(answer.text).text
    assert f'content="http://localhost{view}"' in page.text
    assert (data["source"], data["index"]) == ("9-starter-res-64", 6)
    assert card.headers["Content-Type"] == "image/png"
    assert f"{view}?embed=true" in described["html"]
    assert [answer.status_code for answer in without] == [404, 404]
    assert (empty.status_code, beyond.status_code) == (400, 404)
