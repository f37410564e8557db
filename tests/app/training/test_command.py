"""`gemlens train` makes its run known to the home, so that a server there shows its curves."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import main
from app.training.registry import NOTES


def test_training_says_where_its_curves_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Path] = []
    monkeypatch.setattr("inference.training.__main__.main", trained.append)
    config = tmp_path / "suite.json"
    bank = {"width": 64, "l0": 8}
    settings = {
        "out": str(tmp_path / "my-suite"),
        "source": {"kind": "tokens", "path": "a.npy"},
        "tokens": 10_000,
        "banks": [bank],
    }
    config.write_text(json.dumps(settings))
    home = tmp_path / "home"
    told = CliRunner().invoke(main, ["train", str(config), "--home", str(home)])
    assert told.exit_code == 0, told.output
    assert "/training/my-suite of a server whose home is" in told.output
    assert json.loads((home / NOTES / "my-suite.json").read_text()) == {"out": str(tmp_path / "my-suite")}
    assert trained == [config]


def test_a_wrong_configuration_is_refused_before_anything_is_noted(tmp_path: Path) -> None:
    config = tmp_path / "suite.json"
    config.write_text('{"out": "x"}')
    told = CliRunner().invoke(main, ["train", str(config), "--home", str(tmp_path / "home")])
    assert told.exit_code == 1
    assert "lacks source, banks, tokens" in told.output
    assert not (tmp_path / "home").exists()
