import json
from pathlib import Path
from typing import Any

import pytest

from inference.errors import BadInput, NotFound
from inference.training.config import BankConfig, bank_layers, config_from, read_config

BASE: dict[str, Any] = {"out": "out", "source": {"kind": "text", "path": "a"}, "tokens": 100_000}


def with_bank(**bank: Any) -> dict[str, Any]:
    return {**BASE, "banks": [{"width": 64, "l0": 8, **bank}]}


def test_a_json_file_reads_as_the_run_it_describes(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(with_bank(layers=[1, 2], prefixes=[16, 64], prefix_weights=[1, 3])))
    bank = read_config(path).banks[0]
    assert bank.layers == (1, 2)
    assert bank.shares == (0.25, 0.75)


@pytest.mark.parametrize(
    ("bank", "sentence"),
    [
        ({"width": 65, "prefixes": [16, 65]}, "not a multiple of the prefix 16"),
        ({"prefixes": [16, 32]}, "must rise and end at the width, 64"),
        ({"prefixes": [32, 16, 64]}, "must rise and end at the width"),
        ({"prefixes": [32, 64], "prefix_weights": [1]}, "1 prefix weights for 2 prefixes"),
        ({"l0": 64}, "L0 of 64 does not fit a width of 64"),
        ({"l0": 0}, "L0 of 0 does not fit"),
        ({"site": "mlp_in"}, "An SAE cannot read 'mlp_in'"),
        ({"kind": "autoencoder"}, "Kinds are sae, transcoder, clt"),
        ({"loss": "l1"}, "Losses are batch_topk, jumprelu"),
        ({"skip": True}, "An SAE has no skip connection"),
        ({"l0": 65}, "L0 of 65 does not fit a width of 64"),
        ({"width": "64"}, r"Expected `int`, got `str` - at `\$.banks\[0\].width`"),
        ({"layers": "all"}, r"Expected `array`, got `str`"),
        ({"l0_name": "tiny"}, "Words are small, medium, big"),
        ({"depth": 3}, "'depth' is not a setting of BankConfig"),
        ({"first_beta": 1.5}, "first_beta must be at least 0 and below 1, and it is 1.5"),
        ({"bandwidth": 0}, "bandwidth must be more than 0"),
        ({"first_threshold": 0}, "first_threshold must be more than 0"),
        ({"learning_rate": -1e-3}, "learning_rate must be more than 0, and it is -0.001"),
        ({"learning_rate": float("inf")}, "learning_rate must be more than 0, and it is inf"),
        ({"threshold_rate": 0}, "threshold_rate must be more than 0 and at most 1"),
        ({"sparsity_warm_up": 2}, "sparsity_warm_up must be from 0 to 1"),
        ({"auxiliary_features": 65}, "auxiliary_features is 65, and the width is 64"),
        ({"prefixes": [32, 64], "prefix_weights": [0, 0]}, "one of them more than 0"),
        ({"prefixes": [32, 64], "prefix_weights": [-1, 2]}, r"Prefix weights \[-1.0, 2.0\] must be 0 or more"),
    ],
)
def test_a_bank_that_cannot_be_is_refused_with_a_sentence(bank: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        config_from(with_bank(**bank))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"compute_dtype": "float99"}, "cannot be computed in 'float99'. Give one of auto, float32, bfloat16"),
        ({"warm_up": 2.0}, "warm_up must be from 0 to 1, and it is 2.0"),
        ({"decay": -1}, "decay must be from 0 to 1"),
        ({"time_limit_s": 0}, "time_limit_s must be more than 0"),
        ({"outlier_ratio": -1}, "outlier_ratio must be at least 1"),
        ({"seed": -1}, "seed must be from 0 to 4294967295"),
        (
            {"source": {"kind": "text", "path": "a", "column": "b"}},
            "'column' is not a setting of a source of kind text",
        ),
        ({"source": {"kind": "jsonl", "path": "a", "colour": "b"}}, "Settings are kind, path, column"),
        ({"source": {"kind": "text"}}, "source lacks `path`"),
        ({"source": {"kind": "text", "path": 3}}, "The source's path is int, and a string is expected"),
        ({"source": {"kind": ["text"]}}, "not a kind of source. Kinds are tokens, text"),
        ({"source": "a"}, "The source is str, and an object"),
    ],
)
def test_a_run_that_cannot_be_is_refused_with_a_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        config_from({**with_bank(), **settings})


SAE = {"width": 64, "l0": 8}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"layers": [1, 2]}, {"layers": [2, 3], "l0": 9}),
        ({}, {"layers": [3]}),
        ({}, {}),
        ({"kind": "transcoder", "site": "attn_out"}, {"kind": "transcoder"}),
        ({"kind": "clt"}, {"kind": "clt"}),
    ],
)
def test_two_banks_for_one_folder_are_refused(one: dict[str, Any], other: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"Two banks would both be written to .*width_64_l0_medium"):
        config_from({**BASE, "banks": [{**SAE, **one}, {**SAE, **other}]})


def test_banks_that_differ_in_one_part_of_the_name_stand_beside_each_other() -> None:
    others: list[dict[str, Any]] = [
        {"layers": [3]}, {"layers": [1], "l0_name": "big"}, {"layers": [1], "width": 32},
        {"layers": [1], "site": "mlp_out"}, {"kind": "transcoder"}, {"kind": "transcoder", "skip": True},
        {"kind": "clt"},
    ]  # fmt: skip
    banks = [{**SAE, "layers": [1]}, *({**SAE, **other} for other in others)]
    assert len(config_from({**BASE, "banks": banks}).banks) == len(banks)


def test_a_configuration_without_its_parts_is_refused() -> None:
    with pytest.raises(BadInput, match="lacks banks"):
        config_from(BASE)
    with pytest.raises(BadInput, match="A bank lacks l0"):
        config_from({**BASE, "banks": [{"width": 3}]})
    with pytest.raises(BadInput, match="nothing to train"):
        config_from({**BASE, "banks": []})
    with pytest.raises(BadInput, match="less than one batch"):
        config_from({**with_bank(), "tokens": 10})
    with pytest.raises(BadInput, match="log_every_steps must be at least 1"):
        config_from({**with_bank(), "log_every_steps": 0})
    with pytest.raises(BadInput, match="cannot be saved as 'float16'"):
        config_from({**with_bank(), "save_dtype": "float16"})
    with pytest.raises(BadInput, match="A bank is str, and an object"):
        config_from({**BASE, "banks": ["sae"]})
    with pytest.raises(BadInput, match="is list, and an object"):
        config_from([])  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="at least two tokens"):
        config_from({**with_bank(), "passage_tokens": 1})


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(BadInput, match="not a JSON file"):
        read_config(tmp_path / "run.json")
    with pytest.raises(BadInput, match=r"cannot be read: Is a directory\. Give a JSON file"):
        read_config(tmp_path)
    with pytest.raises(NotFound, match="There is no file"):
        read_config(tmp_path / "none.json")


def test_layers_that_the_model_lacks_are_refused() -> None:
    with pytest.raises(BadInput, match="Layer 18 is not in this model, whose layers go from 0 to 17"):
        bank_layers(BankConfig(width=8, l0=2, layers=(3, 18)), 18)
    with pytest.raises(BadInput, match="name a layer twice"):
        bank_layers(BankConfig(width=8, l0=2, layers=(3, 3)), 18)
    with pytest.raises(BadInput, match="covers every layer"):
        bank_layers(BankConfig(kind="clt", width=36, l0=2, layers=(3,)), 18)
    with pytest.raises(BadInput, match="multiples of 18"):
        bank_layers(BankConfig(kind="clt", width=40, l0=2), 18)
    with pytest.raises(BadInput, match=r"auxiliary_features is 3, and .* 2 features in each of its 18 layers"):
        bank_layers(BankConfig(kind="clt", width=36, l0=2, auxiliary_features=3), 18)
    assert bank_layers(BankConfig(width=8, l0=2), 3) == (0, 1, 2)
