"""The recipe of the starter suite: what its steps are given, and that a done step is not done again."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inference.gemma.tokens import Tokenizer
from inference.training.config import bank_layers, config_from
from inference.training.sources import TokenFile
from starter.recipe import __main__ as recipe
from starter.recipe.tokens import pack


def recipe_of(name: str, work: Path) -> recipe.Recipe:
    settings = json.loads((recipe.HERE / name).read_text())
    return recipe.Recipe(work, settings, work / "home", None, 1000)


@pytest.mark.parametrize("name", ["cpu.json", "gpu.json"])
def test_both_configurations_are_runs_of_the_whole_suite(name: str, tmp_path: Path) -> None:
    config = config_from(recipe.training_config(recipe_of(name, tmp_path), tmp_path / "model"))
    residual, transcoders = config.banks
    assert residual.layers == (5, 9, 12, 15)
    assert transcoders.skip
    assert bank_layers(transcoders, 18) == tuple(range(18))
    assert config.out == tmp_path / "suite"


def test_text_is_packed_into_rows_that_training_reads(tiny_folder: Path, tmp_path: Path) -> None:
    texts = ["the model and an user in the mode " * 8] * 6
    pq.write_table(pa.table({"kind": ["prose"] * 6, "package": ["a"] * 6, "text": texts}), tmp_path / "train.parquet")
    rows = pack(tokenizer_file=tiny_folder / "tokenizer.json", text=tmp_path / "train.parquet", length=32, workers=1)
    expected = Tokenizer.from_folder(tiny_folder).encode("\n\n".join(texts[:4]))
    assert rows[0].tolist() == expected[:32]
    assert (rows[:, 0] == 2).all()
    np.save(tmp_path / "tokens.npy", rows)
    source = TokenFile(tmp_path / "tokens.npy", passage_tokens=32, seed=0)
    assert sorted(source.take(len(rows)).tolist()) == sorted(rows.tolist())


def test_a_step_whose_result_is_there_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(recipe, "python", lambda *words: asked.append(words))
    monkeypatch.setattr(recipe, "checkpoint", lambda _: tmp_path / "model")
    made = recipe_of("cpu.json", tmp_path)
    recipe.gather(made)
    recipe.sample(made)
    recipe.train(made)
    assert [Path(words[0]).name if "-m" not in words else words[2] for words in asked] == [
        "gather.py", "sample", "train",
    ]  # fmt: skip
    made.dashboards.mkdir(parents=True)
    for path in (made.held_out, made.sampled, made.tokens, made.out / "report.json", made.cards):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    asked.clear()
    for step in recipe.STEPS.values():
        step(made)
    assert asked == []


def test_dictionaries_and_cards_are_copied_to_where_the_suite_is_kept(tmp_path: Path) -> None:
    made = recipe_of("cpu.json", tmp_path / "work")
    folder = made.out / "resid_post" / "layer_5_width_4k_l0_medium"
    folder.mkdir(parents=True)
    (folder / "params.safetensors").write_text("weights")
    (made.out / "run").mkdir()
    made.cards.write_text("[]")
    (tmp_path / "kept").mkdir()
    (made.dashboards / "findings").mkdir(parents=True)
    recipe.copy_into(made, tmp_path / "kept")
    assert (tmp_path / "kept" / "resid_post" / folder.name / "params.safetensors").read_text() == "weights"
    assert (tmp_path / "kept" / "quality.json").exists()
    assert (tmp_path / "kept" / "dashboards" / "findings").is_dir()
    assert not (tmp_path / "kept" / "run").exists()
