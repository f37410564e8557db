"""`gemlens evaluate` as it is typed, on the tiny model."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.catalogue.commands import add_source
from app.cli import main
from app.settings import Settings
from inference.dictionaries.probe import probe
from tests.tiny_dictionaries import write_single


def test_a_measured_source_gets_a_card_and_wrong_requests_a_sentence(
    tmp_path: Path, database_url: str, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMLENS_NO_STARTER", "true")
    settings = Settings(home=tmp_path, database_url=database_url)
    folder = write_single(tmp_path, "transcoder_all", 1, affine=True)
    (source,) = add_source(settings, str(folder), model="gemma-3-270m", probe=probe).sources
    prose = tmp_path / "prose.txt"
    prose.write_text("the model and the user of the other thing in the end " * 20)

    def evaluate(*words: str) -> Result:
        place = ["--home", str(tmp_path), "--database-url", database_url, "--model-path", str(tiny_folder)]
        return CliRunner().invoke(main, ["evaluate", "gemma-3-270m", *words, *place, "--threads", "1"])

    wanted = ("--text", str(prose), "--passage-tokens", "32", "--prefix", "8")
    (card,) = json.loads(evaluate(source, *wanted, "--json").stdout)
    assert [quality["variant"] for quality in card["qualities"]] == ["whole", "without skip", "first 8"]
    shown = evaluate(source, *wanted).stdout.splitlines()
    assert shown[0].split()[:3] == ["source", "variant", "L0"]
    assert len(shown) == 4
    prose.write_bytes(b"")
    for words, sentence in (
        ((source, *wanted), "prose.txt has no text"),
        ((source,), "either --text with a file or folder, or --sampled"),
        (("7-nothing", *wanted), f"'7-nothing' is not installed for gemma-3-270m. Installed: {source}"),
    ):
        refused = evaluate(*words)
        assert refused.exit_code == 1
        assert sentence in refused.stderr
