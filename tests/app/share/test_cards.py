"""Preview cards and the lines in a page's head that lead to them, over a small house."""

import struct

from httpx2 import Response

from tests.app.world import DEAD, MODEL, World
from tests.fake_engine import FakeEngine
from tests.hostile import HOSTILE
from tests.pages import Parsed

SOURCE = "9-starter-res-64"
FEATURE = f"{MODEL}/{SOURCE}/6"
TEXT = {"text": "The king of France"}


def is_card(answer: Response) -> bool:
    return (
        answer.status_code == 200
        and answer.headers["Content-Type"] == "image/png"
        and struct.unpack(">II", answer.content[16:24]) == (1200, 630)
    )


def head(page: Response) -> dict[str, str]:
    """What other sites read."""
    return {
        str(attributes.get("property") or attributes.get("name") or attributes.get("type")): str(
            attributes.get("content") or attributes.get("href")
        )
        for tag, attributes in Parsed(page.text).elements
        if tag in ("meta", "link")
    }


async def test_features_sources_and_live_pages_have_cards(world: World) -> None:
    async with world.client(FakeEngine()) as client:
        saved = await client.post(f"/{MODEL}/live/save", data={**TEXT, "source": SOURCE})
        view = saved.headers["Location"].partition("?")[0]
        for place in (f"/{FEATURE}", f"/{MODEL}/{SOURCE}", f"/{MODEL}/live?text=a+king", view):
            page = await client.get(place)
            assert page.status_code == 200
            found = head(page)
            assert found["twitter:card"] == "summary_large_image"
            assert found["og:title"]
            assert found["og:description"]
            assert found["og:url"].startswith(f"http://localhost{place.partition('?')[0]}")
            assert is_card(await client.get(found["og:image"])), place
            oembed = (await client.get(found["application/json+oembed"])).json()
            assert oembed["title"] == found["og:title"]
            assert oembed["thumbnail_url"] == found["og:image"]
        before = (await client.get(f"/cards{view}.png")).content
        await client.post(f"/{MODEL}/live", data={**TEXT, "source": SOURCE})
        after = (await client.get(f"/cards{view}.png")).content
        for missing in ("s/nothing", f"{MODEL}/{SOURCE}/64", f"{MODEL}/nothing", "other/live", f"{MODEL}/{SOURCE}/x"):
            assert (await client.get(f"/cards/{missing}.png")).status_code in (400, 404)
        async with world.database.raw() as connection:
            await connection.execute("delete from saved_view")
        gone = [await client.get(place) for place in (view, f"{view}?embed=true", f"/cards{view}.png")]
    assert before != after, "once the text was read, its card has heat"
    assert [answer.status_code for answer in gone] == [404, 404, 404]
    assert "it was removed, or the address is not whole" in Parsed(gone[0].text).text
    assert "frame-ancestors *" in gone[1].headers["Content-Security-Policy"]


async def test_a_card_is_drawn_once_and_known_by_what_it_shows(world: World) -> None:
    place = f"/cards/{FEATURE}.png"
    async with world.client() as client:
        first = await client.get(place)
        again = await client.get(place, headers={"If-None-Match": first.headers["ETag"]})
        kept = world.home / "cards" / f"{first.headers['ETag'].strip(chr(34))}.png"
        assert kept.read_bytes() == first.content
        kept.write_bytes(b"from disk")
        assert (await client.get(place)).content == b"from disk"
        async with world.database.raw() as connection:
            await connection.execute("update label set text = 'another label' where index = 6")
        other = await client.get(place)
    assert again.status_code == 304
    assert again.content == b""
    assert first.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert other.headers["ETag"] != first.headers["ETag"]
    assert is_card(other)


async def test_dead_features_and_sources_without_a_harvest_have_cards_too(world: World) -> None:
    async with world.client() as client:
        dead = await client.get(f"/cards/{MODEL}/{SOURCE}/{DEAD}.png")
        async with world.database.raw() as connection:
            await connection.execute("update source set current_harvest_id = null where name = %s", [SOURCE])
        unread = [await client.get(f"/cards/{MODEL}/{rest}.png") for rest in (f"{SOURCE}/6", SOURCE)]
        page = await client.get(f"/{MODEL}/{SOURCE}/{DEAD}")
    assert is_card(dead)
    assert all(map(is_card, unread))
    assert "no examples yet" in head(page)["og:description"]


async def test_a_hundred_hostile_strings_do_nothing_in_embeds_cards_and_heads(world: World) -> None:
    """As labels, and as tokens of the vocabulary that the examples are made of."""
    kept = [text for text in HOSTILE if "\x00" not in text]
    async with world.database.raw() as connection:
        await connection.execute("delete from label where method <> 'token_pattern'")
        for index, text in enumerate(kept):
            await connection.execute("update token set text = %s where id = %s", [text, 3000 + index])
            await connection.execute("update label set text = %s where index = %s", [text, index % 63])
    async with world.client(FakeEngine(), base_path="/lens") as client:
        for index in range(0, 63, 7):
            place = f"/lens/{MODEL}/{SOURCE}/{index}"
            page, embed = await client.get(place), await client.get(f"{place}?embed=true")
            for answer in (page, embed):
                assert answer.status_code == 200
                parsed = Parsed(answer.text)
                tags = {tag for tag, _ in parsed.elements}
                assert not tags & {"iframe", "style", "b", *(("img",) if answer is embed else ())}
                assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
                assert all(attributes.get("src") for tag, attributes in parsed.elements if tag == "script")
                assert not any(character in answer.text for character in "\u202e\u2066\u202a\x07\x1b\u2028")
            assert is_card(await client.get(head(page)["og:image"]))
            described = (await client.get(head(page)["application/json+oembed"])).json()
            assert [tag for tag, _ in Parsed(described["html"]).elements] == ["iframe"]
            assert described["html"].count("<") == 2


async def test_oembed_answers_within_what_is_asked(world: World) -> None:
    here = f"http://localhost/lens/{FEATURE}"
    async with world.client(FakeEngine(), base_path="/lens") as client:

        async def asked(url: str, **more: str) -> Response:
            return await client.get("/lens/oembed", params={"url": url, **more})

        whole = (await asked(here)).json()
        small = (await asked(f"{here}?context=full&embed=true", maxwidth="300", maxheight="200")).json()
        source = (await asked(f"http://localhost/lens/{MODEL}/{SOURCE}")).json()
        refused = {
            "xml": await asked(here, format="xml"),
            "elsewhere": await asked("https://evil.example/a/b/1"),
            "outside": await asked(f"http://localhost/{FEATURE}"),
            "beyond": await asked(f"http://localhost/lens/{MODEL}/{SOURCE}/900"),
            "home": await asked("http://localhost/lens/"),
            "nothing": await asked(""),
            "wide": await asked(here, maxwidth="wide"),
        }
    assert whole["type"] == "rich"
    assert whole["version"] == "1.0"
    assert (whole["width"], whole["height"]) == (540, 300)
    assert whole["html"].startswith(f'<iframe src="{here}?embed=true"')
    assert whole["thumbnail_url"] == f"http://localhost/lens/cards/{FEATURE}.png"
    assert (small["width"], small["height"]) == (300, 200)
    assert 'width="300" height="200"' in small["html"]
    assert "thumbnail_url" not in small
    assert small["html"].count("embed=true") == 1
    assert source["type"] == "link"
    assert {name: answer.status_code for name, answer in refused.items()} == {
        "xml": 501, "elsewhere": 404, "outside": 404, "beyond": 404, "home": 404, "nothing": 400, "wide": 400,
    }  # fmt: skip
    assert "JSON" in refused["xml"].json()["message"]
    assert all(answer.json()["message"] for answer in refused.values())


async def test_a_card_that_is_none_says_where_cards_are(world: World) -> None:
    async with world.client() as client:
        for name in ("nope.png", "a/b/c/d.png", "x"):
            answer = await client.get(f"/cards/{name}")
            assert answer.status_code == 404
            assert f"There is no card '{name}'" in Parsed(answer.text).text
            assert "/cards/{model}/{source}/{index}.png" in Parsed(answer.text).text
