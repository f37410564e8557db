"""The starter suite's dashboards: they are loaded where nothing is shown, with all that was given away."""

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from app.catalogue.starter import register_starter
from app.db.database import Database
from app.harvests.starter import starter_dashboards, wish_starter
from app.jobs.job import Job
from app.settings import Settings
from inference.embedding import embed
from inference.harvest.asked import write
from inference.harvest.command import harvest
from inference.harvest.telling import silent
from starter.recipe.dashboards import asked, pack, places
from tests.app.harvests.conftest import MODEL, stored
from tests.tiny_dictionaries import write_single

SOURCES = ("1-starter-res-96", "2-starter-res-96", "2-starter-transcoder-96")
ROWS, LENGTH = 40, 24


class Quiet:
    """As much of a job as storing asks for."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.settings = database, settings

    async def report(self, fraction: float, sentence: str) -> None: ...

    async def checkpoint(self) -> None: ...


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A checkout with a suite of three dictionaries and their dashboards."""
    root = tmp_path_factory.mktemp("checkout")
    suite = root / "starter" / MODEL
    write_single(suite, "resid_post", 1)
    write_single(suite, "resid_post", 2, seed=3)
    write_single(suite, "transcoder_all", 2, affine=True)
    sampled = root / "sampled.npy"
    ids = np.random.default_rng(0).integers(5, 60, (ROWS, LENGTH), dtype=np.int32)
    ids[:, 0] = 2
    np.save(sampled, ids)
    sampled.with_suffix(".json").write_text(
        json.dumps({"model": MODEL, "origin": "a tiny one", "seed": 7, "temperature": 0.9})
    )
    work = root / "work"
    (work / "home").mkdir(parents=True)
    request = asked(places(suite, MODEL), model=MODEL, model_path=tiny_folder, work=work, sampled=sampled)
    write(work, request)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        told = harvest(work, tell=silent)
        pack(work, Path(told["corpus"]["folder"]), suite / "dashboards")
    return root


@pytest.fixture
def settings(tmp_path: Path, tiny_folder: Path) -> Settings:
    return Settings(_env_file=None, home=tmp_path, model_path=str(tiny_folder))


def quiet(database: Database, settings: Settings) -> Job:
    return cast(Job, Quiet(database, settings))


async def test_every_source_shows_its_harvest_with_labels_that_have_their_vectors(
    database: Database, settings: Settings, root: Path
) -> None:
    said: list[str] = []
    await register_starter(database, root=root)
    said.append(await starter_dashboards(quiet(database, settings), model=MODEL, root=str(root)))
    said.append(await starter_dashboards(quiet(database, settings), model=MODEL, root=str(root)))
    assert said == [
        "The starter suite can be browsed: 288 features of 3 sources.",
        "Every source of the starter suite shows a harvest already.",
    ]
    for source in SOURCES:
        rows = await stored(database, source)
        assert len([row for row in rows if len(row) > 6]) == 96
    async with database.raw() as connection:
        rows = await (
            await connection.execute("select text, embedding::text, method from label where embedding is not null")
        ).fetchall()
        bare = await (await connection.execute("select count(*) from label where embedding is null")).fetchone()
        description = await (await connection.execute("select description from corpus")).fetchone()
    assert rows
    assert bare == (0,)
    assert description is not None
    assert "seed 7" in description[0]
    texts = sorted({row[0] for row in rows})[:5]
    known = {row[0]: np.array(json.loads(row[1])) for row in rows}
    for words, vector in zip(texts, embed(texts), strict=True):
        np.testing.assert_allclose(known[words], vector, atol=2e-3)


async def test_it_is_wished_for_where_a_source_shows_nothing(
    database: Database, settings: Settings, root: Path, tmp_path: Path
) -> None:
    assert await wish_starter(database, settings, root=root) is None
    await register_starter(database, root=root)
    assert await wish_starter(database, settings, root=root) is not None
    assert await wish_starter(database, settings, root=root) is None
    assert await wish_starter(database, settings, root=tmp_path) is None


def test_nothing_that_is_given_away_tells_of_the_machine_it_was_made_on(root: Path) -> None:
    files = [path for path in (root / "starter" / MODEL / "dashboards").rglob("*") if path.is_file()]
    assert len(files) > 6
    for path in files:
        assert str(root).encode() not in path.read_bytes()
