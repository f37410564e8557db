"""What goes out comes in again, into another house, and goes out as the same bytes."""

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from sqlalchemy import text

from app.db.database import Database
from app.exchange import bringing, giving, queries
from app.exchange.neuronpedia_in import NeuronpediaFolder
from app.exchange.own import OwnLines
from app.store import features, labels, sources
from app.store.vocabulary import put_vocabulary
from tests.app.conftest import cloned
from tests.app.world import DEAD, MODEL, SOURCES, VOCABULARY, WIDTH, World

NAME = SOURCES[1][0]


@pytest.fixture
def other_url(database_template: str) -> Iterator[str]:
    yield from cloned(database_template)


@pytest.fixture
async def other(other_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """Another house, which knows the vocabulary alone."""
    opened = await Database.open(url=other_url, home=tmp_path, statement_timeout_ms=5_000, pool_size=2)
    await put_vocabulary(opened, VOCABULARY)
    try:
        yield opened
    finally:
        await opened.close()


async def find(database: Database) -> sources.SourceRow:
    async with database.session() as session:
        return await sources.find(session, MODEL, NAME)


async def export(database: Database, folder: Path, form: str) -> dict[str, bytes]:
    await giving.write(database, await find(database), folder, form=form, tell=lambda _: None)
    return files_in(folder)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


async def bring(database: Database, reader: NeuronpediaFolder | OwnLines) -> bringing.Done:
    found = reader.look()
    planned = await bringing.plan(database, found, model=None, source=None)
    return await bringing.bring(database, reader, found, planned)


async def with_scores(world: World) -> None:
    """One label with a score, and one whose scoring failed."""
    async with world.database.session() as session:
        await session.execute(
            text(
                "insert into score (label_id, method, author, status, value, details) select id, 'eleuther_fuzz', "
                "'a judge', case index when 0 then 'done' else 'failed' end, case index when 0 then 0.7 end, "
                """'{"why": "seen"}' from label where method = 'np_max-act-logits' and index in (0, 6)"""
            )
        )
        await queries.copy_best_scores(session, (await sources.find(session, MODEL, NAME)).id)


@pytest.mark.parametrize("form", ["neuronpedia", "jsonl"])
async def test_an_export_that_was_imported_is_exported_as_the_same_bytes(
    world: World, other: Database, tmp_path: Path, form: str
) -> None:
    await with_scores(world)
    first = await export(world.database, tmp_path / "first", form)
    reader = NeuronpediaFolder(tmp_path / "first") if form == "neuronpedia" else OwnLines(tmp_path / "first")
    done = await bring(other, reader)
    assert done.features == WIDTH
    assert done.findings == []
    assert await export(other, tmp_path / "second", form) == first
    assert await export(world.database, tmp_path / "again", form) == first
    # And once more, into the house that it came from.
    again = await bring(world.database, reader)
    assert (again.labels, again.labels_kept > 0, again.scores) == (0, True, 0)
    assert await export(world.database, tmp_path / "third", form) == first


async def test_everything_that_neuronpedia_s_format_has_comes_in(world: World, other: Database, tmp_path: Path) -> None:
    await with_scores(world)
    await export(world.database, tmp_path / "out", "neuronpedia")
    await bring(other, NeuronpediaFolder(tmp_path / "out"))
    source = await find(other)
    assert source.harvest is not None
    assert source.harvest.checkpoint == "5e" * 32
    assert source.harvest.tokens == 40 * 31
    async with other.session() as session:
        stats = await features.stats(session, source.harvest.id, range(WIDTH))
        details = await features.details(session, source.harvest.id, range(WIDTH))
        shown = await features.examples(session, source.harvest, [3])
        every = await labels.of_feature(session, source.id, 6)
    assert [label.method for label in every] == ["np_max-act-logits", "token-pattern"]
    assert [(score.status, score.value) for score in every[0].scores] == [("failed", None)]
    assert stats[DEAD].dead
    assert stats[0].score == pytest.approx(0.7)
    for given in world.given[NAME]:
        assert stats[given.index].density == pytest.approx(given.density)
        assert stats[given.index].peak == pytest.approx(given.peak)
        np.testing.assert_array_equal(details[given.index].top_logits, given.top_logits)
        np.testing.assert_array_equal(details[given.index].histogram, given.histogram)
        np.testing.assert_array_equal(details[given.index].neighbours, given.neighbours)
    for band, stored in zip(shown[3], world.given[NAME][3].bands, strict=True):
        for example, occurrence in zip(band.examples, stored.packed, strict=True):
            np.testing.assert_array_equal(example.ids, world.passages[occurrence.passage])
            assert example.position == occurrence.position
            assert example.peak == np.float32(occurrence.peak)


async def test_files_are_those_that_neuronpedia_s_importer_reads(world: World, tmp_path: Path) -> None:
    files = await export(world.database, tmp_path / "out", "neuronpedia")
    assert set(files) >= {"features/batch-0.jsonl.gz", "activations/batch-0.jsonl.gz", "explanations/batch-0.jsonl.gz",
                          "model.jsonl", "source.jsonl", "sourceset.jsonl", "release.jsonl"}  # fmt: skip
    first = json.loads(gzip.decompress(files["activations/batch-0.jsonl.gz"]).splitlines()[0])
    assert list(first) == [
        "id", "modelId", "layer", "index", "creatorId", "dataSource", "tokens", "values", "maxValue", "minValue",
        "maxValueTokenIndex", "dfaValues", "dfaMaxValue", "dfaTargetIndex", "binMin", "binMax", "binContains",
    ]  # fmt: skip
    assert len(first["tokens"]) == len(first["values"])
    assert first["values"][first["maxValueTokenIndex"]] == first["maxValue"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["model"], manifest["source"], manifest["features"]) == (MODEL, NAME, WIDTH)
    assert set(manifest["files"]) == set(files)


async def test_parquet_and_csv_say_what_json_lines_say(world: World, tmp_path: Path) -> None:
    lines = gzip.decompress((await export(world.database, tmp_path / "j", "jsonl"))["features.jsonl.gz"]).splitlines()
    await export(world.database, tmp_path / "p", "parquet")
    table = parquet.read_table(tmp_path / "p" / "features.parquet")
    assert json.loads(table.schema.metadata[b"gemlens"])["source"] == NAME
    rows = [json.loads(line) for line in lines]
    assert table.num_rows == len(rows) == WIDTH
    for name in ("index", "top_logits", "neighbours", "top_logits_text"):
        assert table[name].to_pylist() == [row[name] for row in rows]
    assert table["bands"].to_pylist()[3][1]["examples"][0]["ids"] == rows[3]["bands"][1]["examples"][0]["ids"]
    assert np.allclose(table["peak"].to_pylist(), [row["peak"] for row in rows])
    flat = (await export(world.database, tmp_path / "c", "csv"))["features.csv"].decode()
    assert flat.startswith("index,density,peak,")
