"""Every label gets the vector of its text, and no other label's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.harvests import meaning
from app.store import sources
from app.store.labels import NewLabel, put
from tests.app.world import World

OF_SOURCE = "select id, text, embedding::text from label where source_id = %s order by id"


async def labels(world: World, source: sources.SourceRow) -> list[tuple[Any, ...]]:
    async with world.database.raw() as connection:
        return await (await connection.execute(OF_SOURCE, [source.id])).fetchall()


def vector(words: str) -> np.ndarray[Any, Any]:
    made: np.ndarray[Any, Any] = np.zeros(384, np.float32)
    made[len(words)] = 1.0
    return made


async def test_vectors_are_written_to_the_labels_they_were_made_of(world: World) -> None:
    async with world.database.session() as session:
        source = (await sources.all_sources(session))[0]
    texts = ["one", "two and three", "one"]
    await put(world.database, source, [NewLabel(index=i, text=t, method="human") for i, t in enumerate(texts)])
    new = [(id_, words) for id_, words, _ in (await labels(world, source))[-3:]]
    changed = (new[1][0], "what it was before it was changed")
    given = [new[0], changed, new[2]]
    assert await meaning._write(world.database, given, np.stack([vector(words) for _, words in given])) == 2
    found = {id_: embedding for id_, _, embedding in await labels(world, source)}
    assert found[new[1][0]] is None
    for id_ in (new[0][0], new[2][0]):
        np.testing.assert_array_equal(np.fromstring(found[id_].strip("[]"), sep=","), vector("one"))


async def test_equal_texts_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def child(job: Any, argv: list[str], *, environment: Any) -> str:
        texts = json.loads(Path(argv[-2]).read_bytes())  # noqa: ASYNC240
        asked.extend(texts)
        np.save(argv[-1], np.stack([vector(words) for words in texts]))
        return ""

    monkeypatch.setattr(meaning, "run_child", child)
    texts = ["one", "two and three", "one", "four!"]
    found = await meaning._vectors(None, texts)  # type: ignore[arg-type]
    assert asked == ["one", "two and three", "four!"]
    np.testing.assert_array_equal(found, np.stack([vector(words) for words in texts]))
