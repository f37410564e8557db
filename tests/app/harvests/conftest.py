"""A home with two installed SAEs and a transcoder of the tiny model, and the verb as it is typed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from app.catalogue.commands import add_source
from app.cli import main
from app.db.database import Database
from app.harvests import following, job
from app.settings import Settings
from inference.dictionaries.probe import probe
from tests.app.conftest import cloned
from tests.inference.harvest.asking import TEXT
from tests.tiny_dictionaries import write_single

MODEL = "gemma-3-270m"
PLAN = ("--passage-tokens", "24", "--tokens", "900", "--batch-passages", "2", "--shard-passages", "6", "--top", "4",
        "--per-band", "2")  # fmt: skip

FOUND = """
    select s.index, s.density, s.peak, s.mean, s.flags, d.norm, d.threshold, d.top_logits, d.top_logit_values,
        d.bottom_logits, d.top_tokens, d.top_token_values, d.neighbours, d.neighbour_cosines, d.before, d.after,
        d.after_cosines, d.co_firing, d.co_firing_scores, d.histogram, d.logit_histogram, d.logit_low, d.logit_high,
        (select array_agg(label.text order by label.id) from label
         where label.source_id = source.id and label.index = s.index and method = 'token-pattern')
    from source join feature_stat s on s.harvest_id = source.current_harvest_id
    join feature_detail d on d.harvest_id = s.harvest_id and d.index = s.index
    where source.name = :source order by s.index
"""
EXAMPLES = """
    select index, band, low, high, share, packed from source join example on harvest_id = current_harvest_id
    where source.name = :source order by index, band
"""


@dataclass(frozen=True)
class Place:
    """Where a harvest of these tests happens."""

    settings: Settings
    corpus: Path
    sources: tuple[str, ...]
    model_path: Path

    @property
    def flags(self) -> list[str]:
        return [
            "--home", str(self.settings.home), "--database-url", str(self.settings.database_url),
            "--model-path", str(self.model_path), "--threads", "1", "--device", "cpu", "--dtype", "float32",
            "--offline",
        ]  # fmt: skip

    def words(self, *words: str, sources: tuple[str, ...] | None = None) -> list[str]:
        named = self.sources if sources is None else sources
        return ["harvest", MODEL, *named, "--corpus", str(self.corpus), *PLAN, *words, *self.flags]

    def run(self, *words: str, sources: tuple[str, ...] | None = None) -> Result:
        return CliRunner().invoke(main, self.words(*words, sources=sources))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other worker to wait for."""
    monkeypatch.setattr(following, "TAKE_SECONDS", 0.0)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.05)


@pytest.fixture
def _without_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentence vectors are tried by one test, and cost every harvest some seconds."""
    monkeypatch.setattr(job, "enqueue", _nothing)


async def _nothing(*_: Any, **__: Any) -> None:
    return None


@pytest.fixture
def place(tmp_path: Path, database_url: str, tiny_folder: Path) -> Place:
    return made_place(tmp_path, database_url, tiny_folder)


def made_place(folder: Path, database_url: str, tiny_folder: Path) -> Place:
    settings = Settings(_env_file=None, home=folder / "home", database_url=database_url)
    settings.home.mkdir()
    weights = (write_single(folder, "resid_post", 1), write_single(folder, "resid_post", 2, seed=3),
               write_single(folder, "transcoder_all", 2, affine=True))  # fmt: skip
    sources = tuple(
        name for path in weights for name in add_source(settings, str(path), model=MODEL, probe=probe).sources
    )
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(f"{number} {TEXT[number:]}" for number in range(6)))
    return Place(settings, corpus, sources, tiny_folder)


async def stored(database: Database, source: str) -> list[tuple[Any, ...]]:
    """Everything that a source shows, for comparing."""
    async with database.session() as session:
        rows = [tuple(row) for row in await session.execute(text(FOUND), {"source": source})]
        return rows + [tuple(row) for row in await session.execute(text(EXAMPLES), {"source": source})]


def with_database(place: Place, ask: Callable[[Database], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        database = await Database.open(url=place.settings.database_url, home=place.settings.home)
        try:
            return await ask(database)
        finally:
            await database.close()

    return asyncio.run(run())


def everything(place: Place) -> list[Any]:
    async def ask(database: Database) -> list[Any]:
        return [await stored(database, source) for source in place.sources]

    return list(with_database(place, ask))


def rows(place: Place, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    async def ask(database: Database) -> list[tuple[Any, ...]]:
        async with database.session() as session:
            found = await session.execute(text(statement), values)
            return [tuple(row) for row in found] if found.returns_rows else []

    return list(with_database(place, ask))


@pytest.fixture(scope="module")
def harvested(
    database_template: str, tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path
) -> Iterator[tuple[Place, str]]:
    """A place whose sources have been harvested, and what the command said. Tests read it and change nothing."""
    for url in cloned(database_template):
        place = made_place(tmp_path_factory.mktemp("undisturbed"), url, tiny_folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(following, "TAKE_SECONDS", 0.0)
            patch.setattr(job, "enqueue", _nothing)
            done = place.run()
        assert done.exit_code == 0, done.output
        yield place, done.stdout


@pytest.fixture
def undisturbed(harvested: tuple[Place, str]) -> list[Any]:
    return everything(harvested[0])
