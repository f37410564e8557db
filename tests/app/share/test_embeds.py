"""Embeds: what they show, who may frame them, how much they weigh."""

import gzip

import pytest

from app.web.assets import Assets
from tests.app.world import DEAD, MODEL, World
from tests.fake_engine import FakeEngine
from tests.pages import Parsed

SOURCE = "9-starter-res-64"
FEATURE = f"/{MODEL}/{SOURCE}/6"
MOST_BYTES = 30_000


async def test_an_embed_may_be_framed_and_nothing_else(world: World) -> None:
    async with world.client(FakeEngine(), frame_ancestors="https://blog.example") as client:
        embed = await client.get(f"{FEATURE}?embed=true")
        missing = await client.get(f"/{MODEL}/{SOURCE}/900?embed=true")
        others = [
            await client.get(path) for path in (FEATURE, f"{FEATURE}?embed=false", f"/{MODEL}/{SOURCE}?embed=true")
        ]
    assert "frame-ancestors https://blog.example" in embed.headers["Content-Security-Policy"]
    assert missing.status_code == 404
    assert "numbered 0 to 63" in Parsed(missing.text).text
    assert "frame-ancestors https://blog.example" in missing.headers["Content-Security-Policy"]
    for other in others:
        assert "frame-ancestors 'none'" in other.headers["Content-Security-Policy"]


async def test_each_part_can_be_left_out(world: World) -> None:
    parts = {
        "embedexplanation": "<h1><bdi>",
        "embedplots": "Promoted",
        "embedtest": "<textarea",
        "embedtestfield": "<textarea",
        "embedactivations": 'class="heats"',
        "embedlink": "open in Gemlens",
    }
    async with world.client(FakeEngine()) as client:
        whole = (await client.get(f"{FEATURE}?embed=true&embedsteer=false")).text
        for name, sign in parts.items():
            assert sign in whole
            assert sign not in (await client.get(f"{FEATURE}?embed=true&{name}=false")).text
        wrong = await client.get(f"{FEATURE}?embed=true&embedplots=perhaps")
    assert wrong.status_code == 400
    assert "neither true nor false" in Parsed(wrong.text).text


async def test_an_embed_weighs_at_most_thirty_kilobytes(world: World) -> None:
    assets = Assets()
    async with world.client(FakeEngine()) as client:
        page = (await client.get(f"{FEATURE}?embed=true")).text
    used = [
        str(attributes.get("href") or attributes.get("src"))
        for tag, attributes in Parsed(page).elements
        if tag in ("link", "script", "img")
    ]
    assert used
    files = sum(assets.size(path.partition("?")[0].removeprefix("/static/")) for path in used)
    assert len(gzip.compress(page.encode(), 5)) + files < MOST_BYTES


async def test_a_dead_feature_and_a_source_without_a_harvest_say_so(world: World) -> None:
    async with world.client(FakeEngine()) as client:
        dead = await client.get(f"/{MODEL}/{SOURCE}/{DEAD}?embed=true")
        async with world.database.raw() as connection:
            await connection.execute("update source set current_harvest_id = null where name = %s", [SOURCE])
        unread = await client.get(f"{FEATURE}?embed=true")
    assert "A dead feature" in Parsed(dead.text).text
    assert "has not been harvested" in Parsed(unread.text).text


@pytest.mark.parametrize(("ancestors", "runs"), [("*", False), ("https://blog.example", True)])
async def test_a_frame_anywhere_does_not_make_the_device_work(world: World, ancestors: str, runs: bool) -> None:
    engine = FakeEngine()
    framed = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "cross-site"}
    place = f"{FEATURE}?embed=true&defaulttesttext=a+king"
    async with world.client(engine, frame_ancestors=ancestors) as client:
        inside = (await client.get(place, headers=framed)).text
        alone = (await client.get(place)).text
    assert ("data-embed-run" in inside) is runs
    assert "data-embed-run" in alone
    assert "a king</textarea>" in inside
    assert engine.asked == []


async def test_a_text_is_tried_within_the_frame(world: World) -> None:
    async with world.client(FakeEngine()) as client:
        answer = await client.post(f"{FEATURE}?embed=true&embedplots=false", data={"text": "a king"})
    assert "frame-ancestors *" in answer.headers["Content-Security-Policy"]
    assert 'id="embed-answer"' in answer.text
    assert "Promoted" not in answer.text
