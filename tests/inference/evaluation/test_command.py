"""What the command measures: plain words in, plain JSON out."""

import json
from pathlib import Path

import pytest

from inference.errors import BadInput, NotFound
from inference.evaluation.command import Asked, Wanted, rows, run
from tests.tiny_dictionaries import write_multi, write_saelens, write_single


@pytest.fixture
def prose(tmp_path: Path) -> Path:
    file = tmp_path / "prose.txt"
    file.write_text("the model and the user of the other thing in the end " * 30)
    return file


def asked(tiny_folder: Path, tmp_path: Path, **changes: object) -> Asked:
    settings = {
        "model": "gemma-3-270m", "home": tmp_path / "home", "model_path": str(tiny_folder), "device": "cpu",
        "dtype": "float32", "passage_tokens": 32,
    }  # fmt: skip
    return Asked(**{**settings, **changes})  # type: ignore[arg-type]


def test_sources_of_every_origin_get_a_card(tiny_folder: Path, tmp_path: Path, prose: Path) -> None:
    config = {
        "architecture": "topk", "k": 5, "d_in": 32, "d_sae": 96, "dtype": "float32",
        "metadata": {"hook_name": "blocks.1.hook_resid_post", "model_name": "google/gemma-3-270m"},
    }  # fmt: skip
    folders = {
        "9-own": (write_saelens(tmp_path / "saelens", config), 1),
        "2-affine": (write_single(tmp_path, "transcoder_all", 2, affine=True, dtype="bfloat16"), 2),
        "0-clt": (clt := write_multi(tmp_path, "clt"), 0),
        "3-clt": (clt, 3),
    }
    wanted = [Wanted(name, f"dir:{folder}", layer) for name, (folder, layer) in folders.items()]
    cards = json.loads(json.dumps(run(asked(tiny_folder, tmp_path, text=prose), wanted), allow_nan=False))
    assert [card["source"] for card in cards] == list(folders)
    assert cards[0]["qualities"][0]["l0"]["value"] <= 5
    assert [quality["variant"] for quality in cards[1]["qualities"]] == ["whole", "without skip"]
    assert cards[2]["l0_all_layers"] == cards[3]["l0_all_layers"]
    origin = cards[0]["origin"]
    assert (origin["text"]["kind"], origin["text"]["name"]) == ("text", "prose.txt")
    assert (origin["dtype"], origin["device"], len(origin["checkpoint"]["sha256"])) == ("float32", "cpu", 64)
    table = rows(cards)
    assert len(table) == 5
    assert table[3]["declared"].startswith("50 in all layers, measured ")


def test_all_layers_are_measured_where_none_is_named(tiny_folder: Path, tmp_path: Path) -> None:
    wanted = [Wanted("clt", f"dir:{write_multi(tmp_path, 'clt')}", None)]
    cards = run(asked(tiny_folder, tmp_path, sampled=2, all_at_once=True), wanted)
    assert [card["source"] for card in cards] == ["clt#0", "clt#1", "clt#2", "clt#3"]
    assert cards[0]["origin"]["text"]["kind"] == "sampled"
    assert rows(cards)[-1]["source"] == "all at once"


def test_a_wrong_request_is_refused_in_a_sentence(tiny_folder: Path, tmp_path: Path, prose: Path) -> None:
    with pytest.raises(BadInput, match="either --text with a file or folder, or --sampled"):
        asked(tiny_folder, tmp_path)
    with pytest.raises(BadInput, match="either --text with a file or folder, or --sampled"):
        asked(tiny_folder, tmp_path, text=prose, sampled=1)
    with pytest.raises(BadInput, match="passages from 1 on, not 0"):
        asked(tiny_folder, tmp_path, sampled=0)
    one = Wanted("1-own", f"dir:{write_single(tmp_path, 'resid_post', 1)}", 1)
    with pytest.raises(NotFound, match="There is no text at"):
        run(asked(tiny_folder, tmp_path, text=tmp_path / "nowhere.txt"), [one])
    with pytest.raises(BadInput, match="at least 4 tokens"):
        run(asked(tiny_folder, tmp_path, sampled=1, passage_tokens=2), [one])
