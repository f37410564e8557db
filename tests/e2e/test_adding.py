"""`gemlens add` and `gemlens sources` beside a running server: what it registers shows at once, what is bad never."""

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from app.cli import main
from tests.e2e.processes import MODEL, Server, gemlens

KEYS = [
    "source", "site", "kind", "layer", "width", "declared_l0", "hf_repo", "hf_folder", "neuronpedia", "saelens",
    "status", "installed",
]  # fmt: skip


def test_an_added_folder_shows_without_a_restart_in_pages_and_rows(
    server: Server, dictionaries: dict[str, Path]
) -> None:
    folder = dictionaries["mlp_out/layer_1_width_96_l0_medium"]
    done = gemlens("add", folder, "--model", MODEL, "--json", "--home", server.home)
    assert done.returncode == 0, done.stderr
    (added,) = json.loads(done.stdout)
    assert added in server.get(f"/{MODEL}").text
    assert server.wait_for_engine().live("the user", added).status_code == 200

    listed = gemlens("sources", MODEL, "--json", "--home", server.home)
    rows = json.loads(listed.stdout)
    assert all(list(row) == KEYS for row in rows)
    (row,) = [row for row in rows if row["source"] == added]
    assert (row["installed"], row["site"], row["kind"], row["layer"], row["width"]) == (True, "mlp_out", "sae", 1, 96)
    assert rows == server.get(f"/api/catalogue/{MODEL}/sources").json()


def spoiled(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "params.safetensors")
    change(tensors)
    save_file(tensors, folder / "params.safetensors")


def pickled(folder: Path) -> None:
    (folder / "params.safetensors").unlink()
    (folder / "params.pt").write_bytes(pickle.dumps({"w_enc": [1.0]}))


def pickled_under_a_better_name(folder: Path) -> None:
    (folder / "params.safetensors").write_bytes(pickle.dumps({"w_enc": [1.0]}))


def truncated(folder: Path) -> None:
    whole = (folder / "params.safetensors").read_bytes()
    (folder / "params.safetensors").write_bytes(whole[: len(whole) // 2])


def not_a_number(folder: Path) -> None:
    spoiled(folder, lambda tensors: tensors["w_enc"][3].fill_(float("nan")))


def negative_threshold(folder: Path) -> None:
    spoiled(folder, lambda tensors: tensors["threshold"][5].fill_(-0.25))


def mis_shaped(folder: Path) -> None:
    def cut(tensors: dict[str, torch.Tensor]) -> None:
        tensors["b_enc"] = tensors["b_enc"][:-1].clone()

    spoiled(folder, cut)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (pickled, r"params\.pt is not read: .* can run code"),
        (pickled_under_a_better_name, "is not a readable safetensors file"),
        (truncated, "describes another length than the file's"),
        (not_a_number, "every value must be finite"),
        (negative_threshold, "threshold is -0.25 at feature 5"),
        (mis_shaped, r"b_enc has shape \[95\]; \[96\] would be right"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_weights_that_cannot_be_used_are_refused_with_a_sentence_and_not_registered(
    server: Server,
    dictionaries: dict[str, Path],
    tmp_path: Path,
    spoil: Callable[[Path], None],
    sentence: str,
) -> None:
    folder = tmp_path / spoil.__name__
    shutil.copytree(dictionaries["resid_post/layer_2_width_96_l0_medium"], folder)
    spoil(folder)
    before = server.sources()
    done = CliRunner().invoke(main, ["add", str(folder), "--model", MODEL, "--home", str(server.home)])
    assert done.exit_code == 1
    assert done.stdout == ""
    said = done.stderr.strip()
    assert said.startswith("Error: ")
    assert said.endswith(".")
    assert "\n" not in said
    assert "Traceback" not in said
    assert str(folder) in said
    assert re.search(sentence, said), said
    assert server.sources() == before


def test_a_refusal_of_the_process_itself_is_one_sentence_and_status_1(server: Server, tmp_path: Path) -> None:
    done = gemlens("add", tmp_path / "nowhere", "--model", MODEL, "--home", server.home)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: There is no folder {tmp_path / 'nowhere'}.\n"


def test_an_unknown_name_is_answered_with_the_nearest(server: Server) -> None:
    done = gemlens("add", "gemma-3-270m/12-gemmascope-2-res-16kk", "--home", server.home)
    assert done.returncode == 1
    assert "12-gemmascope-2-res-16k" in done.stderr
