"""Any split, any order, any grouping: the same bytes."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import BadInput, NotFound
from inference.gemma.model import Gemma
from inference.harvest.corpus import Corpus
from inference.harvest.folder import Damaged, sweep, verified
from inference.harvest.merge import merge_shards, missing_batches
from inference.harvest.plan import Plan
from inference.harvest.shard import Source, run_shard
from tests.inference.harvest.made import PLAN, make_corpus

BATCHES = 10


@pytest.fixture(scope="module")
def one_pass(
    tiny_gemma: Gemma, sources: dict[str, Source], corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("one") / "shard"
    return run_shard(tiny_gemma, sources, corpus, range(BATCHES), plan=PLAN, folder=folder)


@pytest.fixture(scope="module")
def single(
    tiny_gemma: Gemma, sources: dict[str, Source], corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Every batch as a shard of its own."""
    root = tmp_path_factory.mktemp("single")
    for batch in range(BATCHES):
        run_shard(tiny_gemma, sources, corpus, range(batch, batch + 1), plan=PLAN, folder=root / f"{batch}")
    return [root / f"{batch}" for batch in range(BATCHES)]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_grouping_in_any_order_gives_the_bytes_of_one_pass(
    data: st.DataObject, one_pass: dict[str, Any], single: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("merged")
    left = data.draw(st.permutations(single))
    merged, names = one_pass, itertools.count()
    while len(left) > 1:
        size = data.draw(st.integers(min(2, len(left)), len(left)))
        merged = merge_shards(left[:size], folder := root / str(next(names)))
        left = data.draw(st.permutations([*left[size:], folder]))
    assert merged == one_pass


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, BATCHES - 1), max_size=3))
def test_any_split_gives_the_bytes_of_one_pass(
    cuts: set[int],
    one_pass: dict[str, Any],
    tiny_gemma: Gemma,
    sources: dict[str, Source],
    corpus: Corpus,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("split")
    edges = [0, *sorted(cuts), BATCHES]
    for start, stop in itertools.pairwise(edges):
        run_shard(tiny_gemma, sources, corpus, range(start, stop), plan=PLAN, folder=root / f"from-{start}")
    assert merge_shards([root / f"from-{start}" for start in edges[:-1]], root / "merged") == one_pass


def test_a_merged_shard_says_what_it_lacks(single: list[Path], one_pass: dict[str, Any], tmp_path: Path) -> None:
    some = merge_shards([single[4], single[1], single[2]], tmp_path / "some")
    assert some["batches"] == [[1, 3], [4, 5]]
    assert missing_batches(some) == [range(0, 1), range(3, 4), range(5, BATCHES)]
    assert missing_batches(one_pass) == []


def test_nothing_is_counted_twice(single: list[Path], tmp_path: Path) -> None:
    merge_shards(single[:3], tmp_path / "some")
    with pytest.raises(BadInput, match="Batch 2 is in more than one"):
        merge_shards([tmp_path / "some", single[2]], tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_shards_of_different_harvests_do_not_merge(
    tiny_gemma: Gemma, sources: dict[str, Source], corpus: Corpus, single: list[Path], tmp_path: Path
) -> None:
    plan = Plan.from_json({**PLAN.as_json(), "top": 6})
    run_shard(tiny_gemma, sources, corpus, range(1), plan=plan, folder=tmp_path / "other")
    with pytest.raises(BadInput, match="differ in plan"):
        merge_shards([single[1], tmp_path / "other"], tmp_path / "merged")
    with pytest.raises(BadInput, match="no shards"):
        merge_shards([], tmp_path / "merged")


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing", "manifest", "no manifest"])
def test_a_damaged_shard_is_found_and_made_again(
    damage: str, tiny_gemma: Gemma, sources: dict[str, Source], corpus: Corpus, single: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "shard"
    one = {"1-res": sources["1-res"]}
    sound = run_shard(tiny_gemma, one, corpus, range(1), plan=PLAN, folder=folder)
    file = folder / ("manifest.json" if "manifest" in damage else "1-res.examples.parquet")
    data = bytearray(file.read_bytes())
    if damage in ("flipped", "manifest"):
        at = data.index(b'"tokens": ') + 10 if damage == "manifest" else len(data) // 2
        data[at] = ord("9") if data[at] != ord("9") else ord("8")
        file.write_bytes(data)
    elif damage == "cut":
        file.write_bytes(data[:-1])
    else:
        file.unlink()
    with pytest.raises(NotFound if damage == "no manifest" else Damaged):
        merge_shards([folder], tmp_path / "merged")
    again = run_shard(tiny_gemma, one, corpus, range(1), plan=PLAN, folder=folder)
    assert again == sound == verified(folder)


def test_a_stopped_shard_leaves_nothing(
    tiny_gemma: Gemma, sources: dict[str, Source], corpus: Corpus, place: Path
) -> None:
    class Cancelled(Exception):
        pass

    def stop(done: float) -> None:
        if done > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        run_shard(tiny_gemma, sources, corpus, range(3), plan=PLAN, folder=place, progress=stop)
    assert list(place.parent.iterdir()) == []


_KILLED = """
import os, signal, sys
from pathlib import Path
import inference.harvest.merge as merge

real, left = merge.write_ranges, int(sys.argv[3])

def counted(*arguments):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)

merge.write_ranges = counted
merge.merge_shards([Path(p) for p in sys.argv[4:]], Path(sys.argv[1]) / sys.argv[2])
"""


def test_a_merge_killed_in_the_middle_leaves_nothing_half(single: list[Path], tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path), "merged", "5", *map(str, single[:3])],
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "merged").exists()
    assert list(tmp_path.glob(".merged.*"))
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert merge_shards(single[:3], tmp_path / "merged") == verified(tmp_path / "merged")


def test_a_corpus_of_one_passage_is_harvested(tiny_gemma: Gemma, sources: dict[str, Source], tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus", [[2, 120, 121]])
    manifest = run_shard(tiny_gemma, sources, corpus, range(1), plan=PLAN, folder=tmp_path / "shard")
    assert manifest["tokens"] == 2
    assert merge_shards([tmp_path / "shard"], tmp_path / "merged") == manifest
