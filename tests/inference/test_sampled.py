"""Files of sampled token ids: the same again, gone on with, and readable as a corpus."""

import json
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
