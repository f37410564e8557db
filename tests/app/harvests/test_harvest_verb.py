"""`gemlens harvest` as it is typed, on the tiny model: what is stored, and that it can be stopped anywhere."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from app.cli import main
from app.db.database import Database
from app.harvests import following, job, queries
from app.harvests.command import order_of
from app.harvests.order import HARVESTS
from app.jobs import progress
from app.store import features, labels
from app.store.labels import NewLabel
from app.store.sources import find
from inference.harvest.command import FINDINGS, harvest
from inference.harvest.telling import silent
from tests.app.harvests.conftest import MODEL, Place, _nothing, everything, rows, with_database

ROOT = Path(__file__).parents[3]
ASKED: dict[str, Any] = {
    "column": "text", "revision": None, "passage_tokens": 24, "tokens": 900, "name": None, "top": 4, "per_band": 2,
    "batch_passages": 2, "shard_passages": 6, "force": False, "engine": "local", "workers": 1,
}  # fmt: skip
LOSE = "update procrastinate_workers set last_heartbeat = now() - interval '1 hour'"

KILLED = """
import os, signal, sys
from app.harvests import following, job, storing
from app.store.loading import Loading
following.TAKE_SECONDS = 0.0
where = sys.argv.pop(1)
def killing(of, name, after):
    usual = getattr(of, name)
    async def kill(*given, **named):
        found = await usual(*given, **named) if after else None
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(of, name, kill)
if where == "after computing": killing(job, "store", False)
if where == "corpus stored": killing(storing, "_corpus", True)
if where == "part stored": killing(Loading, "put", True)
if where == "labels stored": killing(storing, "_label", True)
if where == "shown": killing(Loading, "finish", True)
if where == "summed up": killing(job, "summaries", True)
from app.cli import main
main()
"""
POINTS = ("after computing", "corpus stored", "part stored", "labels stored", "shown", "summed up")


def test_what_is_stored_is_what_the_files_said_and_has_words(harvested: tuple[Place, str], tmp_path: Path) -> None:
    place, said_ = harvested
    for source in place.sources:
        assert f"{source}: " in said_
    assert "features alive" in said_
    assert not list((place.settings.home / HARVESTS).iterdir()), "nothing is left of the work"
    # The same computing by itself, whose files are read here by plain pyarrow.
    request = tmp_path / "again"
    again = place.run("--name", "another name", "--again", "--detach")
    assert again.exit_code == 0
    request.mkdir()
    (order,) = rows(
        place, "select args->'order' from procrastinate_jobs where task_name = 'harvest' and status = 'todo'"
    )
    _write_request(place, request, order[0])
    harvest(request, tell=silent)

    async def ask(database: Database) -> None:
        async with database.session() as session:
            for name in place.sources:
                source = await find(session, MODEL, name)
                assert source.harvest is not None
                expected = parquet.read_table(request / FINDINGS / name / "features.parquet").to_pylist()
                stats = await features.stats(session, source.harvest.id, range(source.width))
                details = await features.details(session, source.harvest.id, range(source.width))
                examples = await features.examples(session, source.harvest, range(source.width))
                said = await labels.best(session, source.id, range(source.width))
                for row in expected:
                    index = row["index"]
                    assert stats[index].density == pytest.approx(row["density"])
                    for field in ("top_logits", "neighbours", "before", "after", "co_firing", "histogram"):
                        np.testing.assert_array_equal(getattr(details[index], field), row[field], err_msg=field)
                    assert (said[index].text if index in said else None) == row["label"]
                    if row["density"]:
                        top = examples[index][0].examples[0]
                        assert top.peak == pytest.approx(row["peak"])
                        assert top.values[top.position] == pytest.approx(row["peak"])
                        assert top.ids[0] == 2

    with_database(place, ask)
    assert rows(place, "select count(*) from corpus") == [(1,)]
    rows(place, "delete from procrastinate_jobs where status = 'todo'")


def test_the_same_again_is_said_to_be_done(harvested: tuple[Place, str]) -> None:
    place, _ = harvested
    again = place.run("--workers", "2", "--name", "another")
    assert again.exit_code == 0
    assert f"{place.sources[0]} has this harvest already" in again.stdout
    assert "--again" in again.stdout
    assert rows(place, "select count(*) from procrastinate_jobs where status = 'todo'") == [(0,)]


def test_what_is_done_but_has_not_ended_goes_on(harvested: tuple[Place, str]) -> None:
    """Killed after its last source was shown, it still has words to say and a folder to remove."""
    place, _ = harvested
    waits = place.run("--again", "--detach")
    assert "waits for a worker" in waits.stdout
    assert place.run("--detach").stdout == waits.stdout
    rows(place, "delete from procrastinate_jobs where status = 'todo'")


@pytest.mark.parametrize(
    "change",
    [
        "update harvest set finished = now() - interval '9 days'",  # the corpus was written later
        "update dictionary set sha256 = repeat('0', 64)",
        "update harvest set state = 'loading', finished = null",
    ],
)
def test_what_has_changed_since_is_not_done(harvested: tuple[Place, str], change: str) -> None:
    place, _ = harvested
    given = {"model_path": str(place.model_path), "threads": 1, "device": "cpu", "dtype": "float32", "offline": True}
    settings = place.settings.model_copy(update=given)
    order = order_of(settings, MODEL, place.sources, **ASKED, corpus=str(place.corpus))

    async def ask(database: Database) -> tuple[str | None, str | None]:
        sources = await job.known_sources(database, order)
        before = await following._done_before(database, order, sources)
        async with database.session() as session:
            nested = await session.begin_nested()
            await session.execute(text(change))
            one = sources[0]
            sha256 = await session.scalar(text("select sha256 from dictionary d join source s on s.dictionary_id = d.id"
                                               " where s.id = :id"), {"id": one.id})  # fmt: skip
            found = await queries.done(
                session, one.id, key=order.key, sha256=sha256, since=following.changed(str(place.corpus))
            )
            await nested.rollback()
        return before, found

    before, found = with_database(place, ask)
    assert before is not None
    assert found is None


def _write_request(place: Place, folder: Path, order: dict[str, Any]) -> None:
    from app.harvests.order import Order

    async def ask(database: Database) -> None:
        asked = Order.from_json(order)
        sources = await job.known_sources(database, asked)
        job._write(folder / "request.json", await job._request(database, asked, sources, place.settings))

    with_database(place, ask)


def test_a_second_harvest_replaces_what_was_counted_and_nothing_that_people_wrote(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source, *_) = place.sources
    assert place.run(sources=(source,)).exit_code == 0
    assert rows(place, "select count(*) > 0, count(*) = count(embedding) from label") == [(True, True)]
    monkeypatch.setattr(job, "enqueue", _nothing)

    async def name(database: Database) -> None:
        async with database.session() as session:
            row = await find(session, MODEL, source)
        await labels.put(database, row, [NewLabel(index=3, text="by hand", method="human")])

    with_database(place, name)
    before = rows(place, "select id from harvest")
    assert place.run("--tokens", "500", sources=(source,)).exit_code == 0
    assert len(rows(place, "select id from harvest")) == len(before) + 1
    assert rows(place, "select text from label where method = 'human'") == [("by hand",)]
    assert rows(place, "select index from label where method = 'token-pattern' group by 1 having count(*) > 1") == []

    async def best(database: Database) -> str:
        async with database.session() as session:
            row = await find(session, MODEL, source)
            return (await labels.best(session, row.id, [3]))[3].text

    assert with_database(place, best) == "by hand"
    _choose(place, source, before[0][0])


def _choose(place: Place, source: str, first: int) -> None:
    """Of two harvests the first is shown and the other deleted."""
    here = ["--home", str(place.settings.home), "--database-url", str(place.settings.database_url)]

    def verb(*words: str) -> Result:
        return CliRunner().invoke(main, ["harvests", MODEL, source, *words, *here])

    listed = json.loads(verb("--json").stdout)
    assert [one["shown"] for one in listed] == [False, True]
    second = listed[1]["harvest"]
    assert "is what its source shows" in verb("--delete", str(second)).stderr
    assert f"has no harvest {second + 1}. It has: {first}, {second}." in verb("--show", str(second + 1)).stderr
    changed = json.loads(verb("--show", str(first), "--delete", str(second), "--json").stdout)
    assert [(one["harvest"], one["shown"]) for one in changed] == [(first, True)]
    assert rows(place, "select distinct harvest_id from feature_stat") == [(first,)]


@pytest.mark.usefixtures("_without_vectors")
def test_killed_while_storing_the_same_command_ends_as_if_nothing_had_been(
    place: Place, undisturbed: list[Any]
) -> None:
    kill_at(place, "part stored")
    resumed = place.run()
    assert resumed.exit_code == 0, resumed.output
    assert everything(place) == undisturbed
    assert rows(place, "select count(*) from harvest") == [(len(place.sources),)]
    assert rows(place, "select count(*) from harvest where state = 'loading'") == [(0,)]


def kill_at(place: Place, point: str) -> None:
    """Runs the verb in a process that is killed there; its worker's heart has then long stopped."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, point, *place.words()], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    rows(place, LOSE)


@pytest.mark.usefixtures("_without_vectors")
def test_ctrl_c_pauses_and_the_same_command_goes_on(place: Place) -> None:
    one = place.sources[:1]
    code = "from app.harvests import following; following.TAKE_SECONDS = 0.0\nfrom app.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *place.words(sources=one)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(place, "select 1 from job_progress where fraction > 0")
    process.send_signal(signal.SIGINT)
    said, wrong = process.communicate(timeout=60)
    assert process.returncode == 130, wrong
    assert "Paused. The same command goes on" in said
    assert rows(place, "select status::text, wanted from procrastinate_jobs join job_progress on job_id = id") == [
        ("todo", "pause")
    ]
    assert place.run(sources=one).exit_code == 0
    assert rows(place, "select count(*) from procrastinate_jobs where task_name = 'harvest'") == [(1,)]


@pytest.mark.usefixtures("_without_vectors")
@pytest.mark.parametrize(("wish", "says"), [("pause", "Paused from elsewhere"), ("cancel", "Cancelled")])
def test_paused_or_cancelled_from_elsewhere_is_no_success(
    place: Place, monkeypatch: pytest.MonkeyPatch, wish: progress.Wish, says: str
) -> None:
    usual = following._job

    async def wished(database: Database, *given: Any) -> int:
        number = await usual(database, *given)
        await progress.want(database, number, wish)
        return number

    monkeypatch.setattr(following, "_job", wished)
    ended = place.run(sources=place.sources[:1])
    assert (ended.exit_code, ended.stdout.startswith(says)) == (1, True), ended.output


def wait_for(place: Place, statement: str) -> None:
    deadline = time.monotonic() + 60
    while not rows(place, statement):
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("sources", "words", "sentence"),
    [
        (("1-tiny-nothing",), (), "has no source '1-tiny-nothing' here."),
        (("gemma-3-1b/5-x",), (), "A harvest reads one model"),
        (("gemma-3-1b@5-x",), (), "'gemma-3-1b@5-x' is of gemma-3-1b, and this harvest is of gemma-3-270m"),
        ((f"{MODEL}@1-tiny-nothing",), (), "has no source '1-tiny-nothing' here."),
        (None, ("--detach", "--tokens", "-5"), "--tokens is -5. Give 1 or more."),
        (None, ("--detach", "--passage-tokens", "1"), "--passage-tokens is 1. Give 2 to 32,767."),
        (None, ("--detach", "--passage-tokens", "40000"), "--passage-tokens is 40000. Give 2 to 32,767."),
        (None, ("--corpus", "/nowhere/at-all.txt"), "There is no corpus '/nowhere/at-all.txt'"),
        (None, ("--workers", "0"), "--workers is 0"),
        (None, ("--engine", "ray"), "pip install"),
    ],
)
def test_wrong_requests_get_a_sentence(
    place: Place, sources: tuple[str, ...] | None, words: tuple[str, ...], sentence: str
) -> None:
    refused = place.run(*words, sources=sources)
    assert refused.exit_code == 1
    assert sentence in refused.stderr
    assert "Traceback" not in refused.output


@pytest.mark.usefixtures("_without_vectors")
def test_an_empty_corpus_is_refused_in_the_terminal_and_on_the_jobs_row(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    place.corpus.write_bytes(b"")
    refused = place.run()
    assert refused.exit_code == 1
    assert "has no passages" in refused.stderr
    assert "Traceback" not in refused.output
    assert "has no passages" not in caplog.text, "what the terminal says is not also logged"
    assert rows(place, "select failure ^@ 'The corpus' from job_progress") == [(True,)]


def test_points_of_killing_are_all_known() -> None:
    assert all(f'"{point}"' in KILLED for point in POINTS)
    assert os.name == "posix"
