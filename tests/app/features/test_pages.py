"""The feature page over a small house: what is in the database is what the page says."""

from tests.app.world import MODEL, World
from tests.fake_engine import FakeEngine

SOURCE = "9-starter-res-64"
PAGE = f"/{MODEL}/{SOURCE}"


async def test_a_page_shows(world: World) -> None:
    async with world.client(FakeEngine()) as client:
        answer = await client.get(f"{PAGE}/6")
        assert answer.status_code == 200, answer.text
        answer = await client.get(f"{PAGE}/6.json")
        assert answer.status_code == 200, answer.text
