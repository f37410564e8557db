"""A page that is there to be read asks the model for some questions: those are counted as what asks the model."""

from typing import Any

from tests.app.access.conftest import HOST, Shared
from tests.app.neuronpedia.web.conftest import WebEngine
from tests.app.world import World


async def test_a_search_that_reads_a_text_is_charged_once(world: World) -> None:
    shared = Shared(world.database)
    app = world.app(WebEngine(), host="0.0.0.0", allowed_hosts=HOST, compute_per_minute=1)
    client = shared.client(app)
    client.headers["X-API-Key"] = await shared.key(await shared.person("ada"), "compute")

    async def searched(q: str) -> tuple[dict[str, Any], str]:
        answer = await client.get("/search.json", params={"q": q})
        assert answer.status_code == 200, answer.text
        (told,) = (one for one in answer.json()["tried"] if one["way"] == "prompt")
        return told, answer.headers["RateLimit"]

    told, left = await searched("doctor")
    assert "compute" not in left, told
    told, left = await searched('" doctor nurse hospital king"')
    assert (told["sentence"].startswith("Read by"), '"compute";r=0' in left) == (True, True), (told, left)
    told, left = await searched('" doctor nurse hospital king"')
    assert (told["sentence"].startswith("Read by"), "compute" in left) == (True, False), (told, left)
    told, left = await searched('" river bridge green blue"')
    assert told["sentence"].startswith("That was more than 1 requests that ask the model"), told
    await shared.close()
