"""`gemlens train`: the model is found by its name, and the run is known to the home once nothing is left to refuse."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from app.cli import main
from app.training.registry import NOTES
from tests.inference.training.made import token_file


def described(folder: Path, **changes: Any) -> Path:
    """A file that describes a run of one step, of the tiny model unless it is told otherwise."""
    settings = {
        "out": str(folder / "my-suite"), "source": {"kind": "tokens", "path": str(token_file(folder))},
        "model": "gemma-3-tiny", "tokens": 64, "batch_tokens": 64, "passage_tokens": 16, "held_out_tokens": 64,
        "forward_tokens": 64, "banks": [{"width": 64, "l0": 8, "layers": [1]}], **changes,
    }  # fmt: skip
    path = folder / "suite.json"
    path.write_text(json.dumps({name: value for name, value in settings.items() if value is not None}))
    return path


def trained(config: Path, home: Path, *flags: str) -> Result:
    return CliRunner().invoke(main, ["train", str(config), "--home", str(home), *flags])


def refused(told: Result, home: Path) -> str:
    """What a refusal says, which leaves nothing behind."""
    assert told.exit_code == 1, told.output
    assert told.exception is None or isinstance(told.exception, SystemExit)
    assert not (home / NOTES).exists()
    return told.output


def test_a_model_given_by_its_place_is_trained_on_and_the_run_is_known(tmp_path: Path, tiny_folder: Path) -> None:
    home = tmp_path / "home"
    told = trained(described(tmp_path), home, "--model-path", str(tiny_folder))
    assert told.exit_code == 0, told.output
    assert f"Curves: /training/my-suite of a server whose home is {home}." in told.output
    assert json.loads((home / NOTES / "my-suite.json").read_text()) == {"out": str(tmp_path / "my-suite")}
    assert (tmp_path / "my-suite" / "report.json").exists()


def test_a_file_that_names_no_model_is_about_the_one_that_is_chosen(tmp_path: Path, tiny_folder: Path) -> None:
    flags = ["--model", "gemma-3-tiny", "--model-path", str(tiny_folder)]
    told = trained(described(tmp_path, model=None), tmp_path / "home", *flags)
    assert told.exit_code == 0, told.output
    assert json.loads((tmp_path / "my-suite" / "run" / "run.json").read_text())["model"] == "gemma-3-tiny"


def test_a_model_that_is_nowhere_is_refused_before_anything_is_noted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert "gemma-3-tiny" in refused(trained(described(tmp_path), home, "--offline"), home)
    assert not (tmp_path / "my-suite").exists()


def test_flags_that_contradict_the_file_are_refused(tmp_path: Path, tiny_folder: Path) -> None:
    home = tmp_path / "home"
    config = described(tmp_path, checkpoint=str(tiny_folder))
    told = refused(trained(config, home, "--model", "gemma-3-1b"), home)
    assert "is about gemma-3-tiny, and --model names gemma-3-1b. Leave one of them out." in told
    told = refused(trained(config, home, "--model-path", "/elsewhere"), home)
    assert "and --model-path names /elsewhere. Leave one of them out." in told


def test_a_wrong_configuration_is_refused_before_anything_is_noted(tmp_path: Path) -> None:
    config = tmp_path / "suite.json"
    config.write_text('{"out": "x"}')
    home = tmp_path / "home"
    assert "lacks source, banks, tokens" in refused(trained(config, home), home)
    assert "cannot be read: Is a directory" in refused(trained(tmp_path, home), home)


def test_what_only_the_model_shows_to_be_wrong_is_refused_before_the_run_is_known(
    tmp_path: Path, tiny_folder: Path
) -> None:
    home = tmp_path / "home"
    config = described(tmp_path, banks=[{"width": 64, "l0": 8, "layers": [9]}], checkpoint=str(tiny_folder))
    told = refused(trained(config, home), home)
    assert "Layer 9 is not in this model" in told
    assert "Curves" not in told
    (tmp_path / "my-suite").write_text("")
    told = refused(trained(described(tmp_path, checkpoint=str(tiny_folder)), home), home)
    assert "could not be written to" in told
