"""One harvest from request to findings: whole, stopped and gone on with, damaged, split, and refused."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch

from inference.errors import BadInput, NotFound, Unavailable
from inference.gemma.checkpoint import Checkpoint
from inference.gemma.model import Gemma
from inference.gemma.tokens import Tokenizer
from inference.harvest import command
from inference.harvest.asked import Asked, AskedCorpus, Place, from_json, read
from inference.harvest.command import FINDINGS, FOUND, SHARDS, harvest
from inference.harvest.corpus import Corpus
from inference.harvest.gathering import gathered
from inference.harvest.plan import plan_for
from inference.harvest.shard import Source
from inference.harvest.subject import open_subject
from inference.harvest.telling import silent
from tests.inference.harvest.asking import PLAN, ask, results
from tests.inference.harvest.made import expected
from tests.tiny_dictionaries import tiny_tensors, write_single

ROOT = Path(__file__).parents[3]


class Stop(Exception):
    """Somebody stopped it."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def undisturbed(home: Path, tiny: Checkpoint) -> Path:
    folder = home / "harvests" / "undisturbed"
    ask(folder, home=home, model_folder=tiny.folder)
    harvest(folder, tell=silent)
    return folder


@pytest.fixture
def folder(home: Path, tmp_path: Path, tiny: Checkpoint) -> Path:
    ask(tmp_path / "harvest", home=home, model_folder=tiny.folder)
    return tmp_path / "harvest"


def rows(folder: Path, source: str, file: str = "features.parquet") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(folder / FINDINGS / source / file).to_pylist()
    return found


def test_numbers_are_those_of_plain_loops_over_dense_features(undisturbed: Path, tiny_gemma: Gemma) -> None:
    told = json.loads((undisturbed / FOUND).read_text())
    corpus = Corpus.open(Path(told["corpus"]["folder"]))
    plan = plan_for(corpus.tokens, **PLAN)
    for name, source in open_subject(read(undisturbed)).sources.items():
        features, _, tokens = expected(tiny_gemma, source, corpus, plan)
        assert told["tokens"] == tokens
        found = rows(undisturbed, name)
        assert [row["index"] for row in found] == list(range(len(features)))
        for row, one in zip(found, features, strict=True):
            assert row["density"] == pytest.approx(one.count / tokens)
            assert row["histogram"] == one.histogram
            best = [token for token, _ in sorted(one.tokens.items(), key=lambda each: (-each[1], each[0]))]
            assert row["top_tokens"] == best[:10]
        by_index: dict[int, set[int]] = {}
        for band in rows(undisturbed, name, "bands.parquet"):
            by_index.setdefault(band["index"], set()).update(band["passages"])
        assert by_index == {i: set(one.kept(i, plan)) for i, one in enumerate(features) if one.count}


def test_layers_of_one_set_are_compared_and_sites_of_two_kinds_are_not(undisturbed: Path) -> None:
    sources = open_subject(read(undisturbed)).sources

    def unit(source: Source) -> torch.Tensor:
        count = torch.arange(source.dictionary.spec.width)
        return torch.nn.functional.normalize(source.dictionary.decoder_rows(count, layer=source.layer))

    one, two = unit(sources["1-res"]), unit(sources["2-res"])
    first = rows(undisturbed, "1-res")
    np.testing.assert_array_equal([row["after"][0] for row in first], (one @ two.T).argmax(dim=1))
    np.testing.assert_allclose([row["after_cosines"][0] for row in first], (one @ two.T).amax(dim=1), rtol=1e-5)
    assert all(row["before"] == [] for row in first)
    assert all(row["before"] for row in rows(undisturbed, "2-res"))
    assert all(row["before"] == [] for row in rows(undisturbed, "2-tc")), "a transcoder writes elsewhere"


def test_every_feature_that_fires_has_a_label_and_the_others_have_none(undisturbed: Path) -> None:
    for row in rows(undisturbed, "2-tc"):
        assert (row["label"] is None) == (row["density"] == 0)


def test_thresholds_and_values_are_in_the_same_units(undisturbed: Path) -> None:
    """Folded: no feature fires with less than its threshold."""
    by_index = {row["index"]: row["threshold"] for row in rows(undisturbed, "1-res")}
    for band in rows(undisturbed, "1-res", "bands.parquet"):
        assert min(band["values"]) >= by_index[band["index"]] * (1 - 1e-6)


@pytest.mark.parametrize("doing", ["Reading the corpus", "Putting the parts together", "Describing"])
def test_stopped_anywhere_it_goes_on_and_finds_the_same_bytes(folder: Path, undisturbed: Path, doing: str) -> None:
    def stop(fraction: float, sentence: str) -> None:
        if sentence.startswith(doing) and fraction > 0.3:
            raise Stop

    with pytest.raises(Stop):
        harvest(folder, tell=stop)
    assert command.found(folder) is None
    harvest(folder, tell=silent)
    assert results(folder) == results(undisturbed)


KILLED = """
import os, signal, sys
from pathlib import Path
from inference.harvest.command import harvest
steps = 0
def tell(fraction, sentence):
    global steps
    steps += 1
    if steps == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
harvest(Path(sys.argv[1]), tell=tell)
"""


def test_killed_in_the_middle_of_reading_it_goes_on_and_finds_the_same_bytes(folder: Path, undisturbed: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), "14"], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    shards = list((folder / SHARDS).glob("0*"))
    assert shards, "something was done"
    times = {shard: shard.stat().st_mtime_ns for shard in shards}
    seen: dict[Path, int] = {}

    def tell(fraction: float, sentence: str) -> None:
        seen.update({shard: shard.stat().st_mtime_ns for shard in shards if shard.exists()})

    harvest(folder, tell=tell)
    assert seen == times, "what was done was not done again"
    assert results(folder) == results(undisturbed)


def test_a_damaged_shard_is_found_by_its_checksum_and_made_again(folder: Path, undisturbed: Path) -> None:
    def stop(fraction: float, sentence: str) -> None:
        if sentence.startswith("Putting"):
            raise Stop

    with pytest.raises(Stop):
        harvest(folder, tell=stop)
    victim = sorted((folder / SHARDS).glob("0*/*.features.parquet"))[1]
    damaged = bytearray(victim.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    victim.write_bytes(damaged)
    harvest(folder, tell=silent)
    assert results(folder) == results(undisturbed)


def test_damaged_findings_count_as_not_done(folder: Path, undisturbed: Path) -> None:
    harvest(folder, tell=silent)
    victim = folder / FINDINGS / "1-res" / "bands.parquet"
    victim.write_bytes(victim.read_bytes()[:-1])
    assert command.found(folder) is None
    harvest(folder, tell=silent)
    assert results(folder) == results(undisturbed)


def test_any_number_of_processes_and_any_size_of_shards_find_the_same_bytes(
    folder: Path, home: Path, undisturbed: Path, tiny: Checkpoint
) -> None:
    ask(folder, home=home, model_folder=tiny.folder, workers=2, shard_passages=8)
    harvest(folder, tell=silent)
    assert results(folder) == results(undisturbed)


def test_a_full_disk_is_said_and_what_was_done_stays(
    folder: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(command, "merge_shards", full)
        with pytest.raises(Unavailable, match="disk is full"):
            harvest(folder, tell=silent)
    assert list((folder / SHARDS).glob("0*"))
    harvest(folder, tell=silent)
    assert results(folder) == results(undisturbed)


def test_a_dictionary_that_fires_on_everything_is_refused_unless_forced(
    tmp_path: Path, home: Path, tiny: Checkpoint
) -> None:
    tensors = tiny_tensors()
    tensors["threshold"] = torch.zeros_like(tensors["threshold"])
    tensors["b_enc"] = torch.full_like(tensors["b_enc"], 9.0)
    place = Place("1-all", f"dir:{write_single(tmp_path, 'resid_post', 1, tensors=tensors)}", 1)
    folder = tmp_path / "harvest"
    asked = {"sources": (place,), "before": {}, "after": {}}
    ask(folder, home=home, model_folder=tiny.folder, **asked)
    with pytest.raises(BadInput, match="1-all fires"):
        harvest(folder, tell=silent)
    ask(folder, home=home, model_folder=tiny.folder, force=True, **asked)
    assert harvest(folder, tell=silent)["tokens"] > 0


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.txt", b"", "has no passages"),
        ("binary.txt", b"ab\0cd", "NUL byte"),
        ("latin.txt", "né".encode("latin-1"), "not UTF-8"),
        ("other.npy", None, "another tokenizer"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_refused_in_a_sentence(
    tmp_path: Path, home: Path, tiny: Checkpoint, name: str, content: bytes | None, sentence: str
) -> None:
    place = tmp_path / name
    if content is None:
        np.save(place, np.full((3, 20), 262_000, np.int32))
    else:
        place.write_bytes(content)
    folder = tmp_path / "harvest"
    ask(folder, home=home, model_folder=tiny.folder, corpus=AskedCorpus(place=str(place), passage_tokens=24))
    with pytest.raises(BadInput, match=sentence):
        harvest(folder, tell=silent)


def test_a_dictionary_of_another_model_is_refused(tmp_path: Path, home: Path, tiny: Checkpoint) -> None:
    tensors = tiny_tensors(d_in=40)
    place = Place("1-wide", f"dir:{write_single(tmp_path, 'resid_post', 1, tensors=tensors)}", 1)
    ask(tmp_path / "h", home=home, model_folder=tiny.folder, sources=(place,), before={}, after={})
    with pytest.raises(BadInput, match="belongs to another model"):
        harvest(tmp_path / "h", tell=silent)


def test_a_corpus_is_cut_once_and_again_only_when_its_file_changes(tmp_path: Path, tiny: Checkpoint) -> None:
    text = tmp_path / "corpus.txt"
    text.write_text("the model of a user " * 40)

    def cut() -> Path:
        return gathered(
            AskedCorpus(place=str(text), passage_tokens=24),
            home=tmp_path,
            tokenizer=Tokenizer.from_folder(tiny.folder),
            tokenizer_json=tiny.folder / "tokenizer.json",
        ).folder

    first = cut()
    written = first.stat().st_mtime_ns
    assert cut() == first
    assert first.stat().st_mtime_ns == written
    text.write_text(text.read_text() + "and a new end of it all")
    assert cut() != first


def test_a_request_comes_back_as_it_was_written(folder: Path, home: Path, tiny: Checkpoint) -> None:
    asked = ask(folder, home=home, model_folder=tiny.folder)
    assert read(folder) == asked
    assert from_json(json.loads((folder / "request.json").read_text())) == asked
    with pytest.raises(NotFound, match="request"):
        read(folder / "elsewhere")


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"sources": ()}, "at least one"), ({"engine": "slurm"}, "local or ray"), ({"workers": 0}, "--workers")],
)
def test_what_cannot_be_asked_is_refused(changes: dict[str, Any], word: str) -> None:
    usual: dict[str, Any] = {"model": "m", "home": "/", "sources": (Place("a", "dir:/a", 1),)}
    with pytest.raises(BadInput, match=word):
        Asked(**{**usual, "corpus": AskedCorpus(place="/x"), **changes})
