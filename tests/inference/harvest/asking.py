"""Requests for tiny harvests, as the web's half writes them."""

from pathlib import Path
from typing import Any

from inference.harvest.asked import Asked, AskedCorpus, Place, write
from tests.tiny import MODEL
from tests.tiny_dictionaries import write_single

PLAN = {"batch_passages": 2, "top": 4, "per_band": 2, "encode_rows": 32, "encode_features": 40}
FOLDERS = {
    "1-res": "resid_post/layer_1_width_96_l0_medium",
    "2-res": "resid_post/layer_2_width_96_l0_medium",
    "2-tc": "transcoder_all/layer_2_width_96_l0_medium_affine",
}
TEXT = "the model of a user and another model in the end of it\n" * 40


def ask(folder: Path, *, home: Path, model_folder: Path, **changes: Any) -> Asked:
    """Two SAEs of one set and a transcoder, on a text of some forty passages; written into the folder."""
    home.mkdir(parents=True, exist_ok=True)
    text = home / "corpus.txt"
    folders = {name: home / path for name, path in FOLDERS.items()}
    if not text.exists():
        text.write_text("\n".join(f"{number} {TEXT[number:]}" for number in range(6)))
        write_single(home, "resid_post", 1)
        write_single(home, "resid_post", 2, seed=3)
        write_single(home, "transcoder_all", 2, affine=True)
    places = {name: Place(name, f"dir:{folders[name]}", int(name[0])) for name in FOLDERS}
    usual: dict[str, Any] = {
        "model": MODEL,
        "home": str(home),
        "model_path": str(model_folder),
        "sources": tuple(places.values()),
        "before": {"2-res": places["1-res"], "2-tc": places["1-res"]},
        "after": {"1-res": places["2-res"]},
        "corpus": AskedCorpus(place=str(text), passage_tokens=24, tokens=900),
        "plan": PLAN,
        "shard_passages": 6,
        "device": "cpu",
        "dtype": "float32",
        "offline": True,
    }
    asked = Asked(**{**usual, **changes})
    write(folder, asked)
    return asked


def results(folder: Path) -> dict[str, bytes]:
    """Every byte that a finished harvest leaves, by its name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "request.json"
    }
