"""The verbs as they are typed: a dry run writes nothing, a kill loses nothing, a bucket is a folder."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from app.cli import main
from app.db.database import Database
from app.exchange import giving
from app.store import sources
from app.store.vocabulary import put_vocabulary
from inference.errors import BadInput, Unavailable
from tests.app.conftest import cloned
from tests.app.exchange.bucket_standin import serving
from tests.app.world import MODEL, SOURCES, VOCABULARY, WIDTH, World

NAME = SOURCES[1][0]


@pytest.fixture
def other_url(database_template: str) -> Iterator[str]:
    yield from cloned(database_template)


@pytest.fixture
async def exported(world: World, tmp_path: Path) -> Path:
    """A source of the world, as Neuronpedia's bucket has it."""
    async with world.database.session() as session:
        row = await sources.find(session, MODEL, NAME)
    folder = tmp_path / "s3" / "v1" / MODEL / NAME
    await giving.write(world.database, row, folder, form="neuronpedia", tell=lambda _: None)
    return folder


def invoke(database_url: str, home: Path, *words: str) -> Any:
    return CliRunner().invoke(main, [*words, "--database-url", database_url, "--home", str(home)])


def begin(argv: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def batches(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.gz")}


def count(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


async def test_a_bucket_is_imported_and_said_before_and_after(
    exported: Path, world: World, database_url: str, tmp_path: Path
) -> None:
    (exported / "manifest.json").unlink()
    before = count(database_url, "select count(*) from harvest")
    with serving(tmp_path / "s3") as (base, _):
        words = ("import", base, "--model", MODEL, "--source", NAME)
        dry = await asyncio.to_thread(invoke, database_url, tmp_path / "home", *words, "--dry-run")
        assert dry.exit_code == 0, dry.output
        assert "64 features, 1,008 activations and 74 labels, for 12-starter-res-64 of gemma-3-270m" in dry.output
        assert "Nothing was written." in dry.output
        assert "does not say which checkpoint" in dry.output
        assert count(database_url, "select count(*) from harvest") == before
        done = await asyncio.to_thread(invoke, database_url, tmp_path / "home", *words, "--json")
    assert done.exit_code == 0, done.output
    (told,) = json.loads(done.stdout)
    assert told["plan"]["activations"] == told["done"]["examples"] == 63 * 16
    assert (told["done"]["labels"], told["done"]["labels_kept"]) == (0, 74)
    assert count(database_url, "select count(*) from harvest") == before + 1


async def test_export_writes_a_folder_once(world: World, database_url: str, tmp_path: Path) -> None:
    words = ("export", MODEL, NAME, str(tmp_path / "out"), "--format", "csv")
    first = await asyncio.to_thread(invoke, database_url, tmp_path, *words, "--json")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["files"] == 1
    again = await asyncio.to_thread(invoke, database_url, tmp_path, *words)
    assert again.exit_code == 1
    assert "is there already and not empty" in again.output


async def test_where_nothing_can_be_written_a_sentence_says_so(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.database.session() as session:
        row = await sources.find(session, MODEL, NAME)

    async def write(folder: Path) -> None:
        await giving.write(world.database, row, folder, form="csv", tell=lambda _: None)

    with pytest.raises(BadInput, match="/proc/x cannot be written"):
        await write(Path("/proc/x"))
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "precious").touch()
    with pytest.raises(BadInput, match=r"out\.part is in the way"):
        await write(tmp_path / "out")
    assert (tmp_path / "out.part" / "precious").exists()
    (tmp_path / "out.part" / giving.MARK).touch()
    await write(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"features.csv", "manifest.json"}

    async def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(giving, "_stream_into", full)
    with pytest.raises(Unavailable, match="The disk is full"):
        await write(tmp_path / "other")
    assert not (tmp_path / "other.part").exists()


async def test_killed_anywhere_nothing_half_is_shown_and_it_goes_on(
    exported: Path, other_url: str, tmp_path: Path
) -> None:
    """Parts are made small, so that there is something to stop between."""
    url = other_url
    other = await Database.open(url=url, home=tmp_path)
    await put_vocabulary(other, VOCABULARY)
    script = tmp_path / "bring.py"
    script.write_text(
        "import sys, time\n"
        "from app.exchange import given, neuronpedia_in, passages\n"
        "neuronpedia_in.PART = 4\n"
        "slow = passages.put\n"
        "async def put(*a):\n    time.sleep(0.1)\n    return await slow(*a)\n"
        "passages.put = put\n"
        "from app.cli import main\nmain(sys.argv[1:])\n"
    )
    argv = [sys.executable, str(script), "import", str(exported), "--database-url", url, "--home", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    try:
        shards = []
        for wanted in (2, 7):
            process = begin(argv, environment)
            deadline = time.monotonic() + 60
            while count(url, "select count(*) from shard") < wanted and time.monotonic() < deadline:
                assert process.poll() is None, process.communicate()
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            shards.append(count(url, "select count(*) from shard"))
            assert count(url, "select count(*) from source where current_harvest_id is not null") == 0
        assert wanted <= shards[1] < WIDTH // 4
        finished = await asyncio.to_thread(subprocess.run, argv, env=environment, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr
        assert count(url, "select count(*) from harvest") == 1
        async with other.session() as session:
            row = await sources.find(session, MODEL, NAME)
        await giving.write(other, row, tmp_path / "again", form="neuronpedia", tell=lambda _: None)
        assert batches(tmp_path / "again") == batches(exported)
    finally:
        await other.close()
