"""`gemlens sample`: a file that is there is never replaced, and one that is done is answered at once."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main

SAMPLE = ("sample", "gemma-3-tiny", "--passages", "3", "--passage-tokens", "8")


def sampled(tiny_folder: Path, out: Path, *flags: str) -> Result:
    return CliRunner().invoke(main, [*SAMPLE, "--out", str(out), "--model-path", str(tiny_folder), *flags])


def test_the_command_answers_at_once_where_it_is_done(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMLENS_HOME", str(tmp_path / "home"))
    out = tmp_path / "own.npy"
    assert "own.npy: 24 tokens in 3 passages, seed 0." in sampled(tiny_folder, out).output
    monkeypatch.setattr("inference.sampling_command.Gemma", None)
    assert "own.npy: done already, 24 tokens in 3 passages, seed 0." in sampled(tiny_folder, out).output
    told = sampled(tiny_folder, out, "--seed", "2")
    assert told.exit_code == 1
    assert "is there already, made with another seed. Choose another name or remove it." in told.output


def test_a_place_that_cannot_be_written_is_named_before_the_model_is_loaded(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMLENS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("inference.sampling_command.Gemma", None)
    told = sampled(tiny_folder, Path("/proc/foo/a.npy"))
    assert told.exit_code == 1
    assert "/proc/foo/a.npy could not be written: No such file or directory. Choose a place" in told.output
