"""Files of sampled token ids: the same again, gone on with, and readable as a corpus."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.errors import BadInput
from inference.gemma.model import Gemma
from inference.harvest.passages import read_passages
from inference.sampled import write_sampled
from inference.sampling import SamplingPlan, sample

PLAN = SamplingPlan(count=5, length=12, batch=2, seed=3, prefixes=("", "ab", "c"))
SMALL = SamplingPlan(count=1, length=4, prefixes=("",))


class Stop(Exception):
    pass


def test_the_file_holds_what_sampling_gives_and_says_how_to_have_it_again(tiny_gemma: Gemma, tmp_path: Path) -> None:
    out = tmp_path / "own.npy"
    facts = write_sampled(tiny_gemma, PLAN, out)
    np.testing.assert_array_equal(np.load(out), torch.cat(list(sample(tiny_gemma, PLAN))).numpy())
    assert json.loads(out.with_suffix(".json").read_text()) == facts
    assert (facts["seed"], facts["tokens"], facts["checkpoint"]) == (3, 60, tiny_gemma.checkpoint.sha256)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["own.json", "own.npy"], "nothing else is left"


def test_stopped_it_goes_on_and_writes_the_same_file(tiny_gemma: Gemma, tmp_path: Path) -> None:
    write_sampled(tiny_gemma, PLAN, tmp_path / "plain.npy")

    def stop(done: int, of: int) -> None:
        if done > 20:
            raise Stop

    stopped = tmp_path / "stopped.npy"
    with pytest.raises(Stop):
        write_sampled(tiny_gemma, PLAN, stopped, progress=stop)
    assert not stopped.exists()
    write_sampled(tiny_gemma, PLAN, stopped)
    assert stopped.read_bytes() == (tmp_path / "plain.npy").read_bytes()


def test_it_is_a_corpus(tiny_gemma: Gemma, tmp_path: Path) -> None:
    out = tmp_path / "own.npy"
    write_sampled(tiny_gemma, PLAN, out)
    passages = list(read_passages(str(out), tokenizer=tiny_gemma.tokenizer, passage_tokens=12))
    assert passages == np.load(out).tolist()


def test_another_kind_of_file_is_refused(tiny_gemma: Gemma, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"ends in \.npy"):
        write_sampled(tiny_gemma, PLAN, tmp_path / "own.txt")


def test_a_finished_file_is_not_written_again(
    tiny_gemma: Gemma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = write_sampled(tiny_gemma, SMALL, tmp_path / "own.npy")
    monkeypatch.setattr("inference.sampled.sample", None)
    assert write_sampled(tiny_gemma, SMALL, tmp_path / "own.npy") == facts


def test_a_file_that_is_lost_is_written_again_beside_what_is_said_of_it(tiny_gemma: Gemma, tmp_path: Path) -> None:
    out = tmp_path / "own.npy"
    write_sampled(tiny_gemma, SMALL, out)
    whole = out.read_bytes()
    out.unlink()
    write_sampled(tiny_gemma, SMALL, out)
    assert out.read_bytes() == whole


def test_another_file_of_the_name_is_never_replaced(tiny_gemma: Gemma, tmp_path: Path) -> None:
    out, beside = tmp_path / "own.npy", tmp_path / "own.json"
    write_sampled(tiny_gemma, SMALL, out)
    before = out.read_bytes()
    with pytest.raises(BadInput, match=r"own\.npy is there already, made with another min_p and another seed\. Choose"):
        write_sampled(tiny_gemma, replace(SMALL, seed=4, min_p=0.1), out)
    beside.write_text("notes")
    with pytest.raises(BadInput, match=r"own\.npy is there already, and nothing beside it says"):
        write_sampled(tiny_gemma, SMALL, out)
    assert out.read_bytes() == before
    out.unlink()
    with pytest.raises(BadInput, match=r"own\.json is there already"):
        write_sampled(tiny_gemma, SMALL, out)
    assert beside.read_text() == "notes"
