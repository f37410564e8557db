"""SAELens' folders, against its formulas written out by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.dictionaries import Dictionary
from inference.errors import BadInput, NotFound
from tests.tiny_dictionaries import write_saelens

DRAW = torch.Generator().manual_seed(8)
D_IN, D_OUT, WIDTH = 10, 7, 40


def tensors(*, d_out: int = D_IN, threshold: bool = True, skip: bool = False) -> dict[str, Tensor]:
    found = {
        "W_enc": torch.randn(D_IN, WIDTH, generator=DRAW) / 3,
        "b_enc": torch.randn(WIDTH, generator=DRAW) / 5,
        "W_dec": torch.randn(WIDTH, d_out, generator=DRAW),
        "b_dec": torch.randn(d_out, generator=DRAW),
    }
    if threshold:
        found["threshold"] = torch.rand(WIDTH, generator=DRAW)
    if skip:
        found["W_skip"] = torch.randn(d_out, D_IN, generator=DRAW)
    return found


def config(**changes: Any) -> dict[str, Any]:
    """As SAELens 6 writes it."""
    metadata = {"hook_name": "blocks.3.hook_resid_post", "model_name": "google/gemma-3-270m", **changes.pop("meta", {})}
    own = {"architecture": "jumprelu", "d_in": D_IN, "d_sae": WIDTH, "dtype": "float32", "device": "cpu"}
    plain = {"apply_b_dec_to_input": False, "normalize_activations": "none", "reshape_activations": "none"}
    return {**own, **plain, "metadata": metadata, **changes}


def by_hand(x: Tensor, weights: dict[str, Tensor], said: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """SAELens' encode and forward, in float64. Returns raw features and output."""
    w = {name: tensor.double().numpy() for name, tensor in weights.items()}
    inputs = x.double().numpy()
    transcoder = "transcoder" in said["architecture"]
    bias = w["b_dec"] if said["apply_b_dec_to_input"] and not transcoder else 0.0
    pre = (inputs - bias) @ w["W_enc"] + w["b_enc"]
    norms = np.linalg.norm(w["W_dec"], axis=1)
    features = np.maximum(pre, 0)
    if said["architecture"].startswith("jumprelu"):
        features *= pre > w["threshold"]
    if said["architecture"] == "topk":
        ranked = pre * norms if said.get("rescale_acts_by_decoder_norm") else pre
        for row, values in enumerate(ranked):
            features[row, np.argsort(-values)[said["k"] :]] = 0.0
    output = features @ w["W_dec"] + w["b_dec"]
    if "W_skip" in w:
        output = output + inputs @ w["W_skip"].T
    return features, output


def transcoder(architecture: str) -> dict[str, Any]:
    hooks = {"hook_name": "blocks.3.hook_mlp_in", "hook_name_out": "blocks.3.hook_mlp_out"}
    exact = {
        "hf_hook_name": "model.layers.3.pre_feedforward_layernorm.output",
        "hf_hook_name_out": "model.layers.3.post_feedforward_layernorm.output",
    }
    return config(architecture=architecture, d_out=D_OUT, meta={**hooks, **exact})


CASES: dict[str, tuple[dict[str, Any], dict[str, Tensor]]] = {
    "jumprelu": (config(), tensors()),
    "jumprelu with b_dec in the input": (config(apply_b_dec_to_input=True), tensors()),
    "standard": (config(architecture="standard", apply_b_dec_to_input=True), tensors(threshold=False)),
    "topk": (config(architecture="topk", k=6), tensors(threshold=False)),
    "topk ranked by norm": (
        config(architecture="topk", k=6, rescale_acts_by_decoder_norm=True, apply_b_dec_to_input=True),
        tensors(threshold=False),
    ),
    "transcoder": (transcoder("transcoder"), tensors(d_out=D_OUT, threshold=False)),
    "skip_transcoder": (transcoder("skip_transcoder"), tensors(d_out=D_OUT, threshold=False, skip=True)),
    "jumprelu_transcoder": (transcoder("jumprelu_transcoder"), tensors(d_out=D_OUT)),
    "jumprelu_skip_transcoder": (transcoder("jumprelu_skip_transcoder"), tensors(d_out=D_OUT, skip=True)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("place", ["mapped", "host"])
def test_each_architecture_gives_what_saelens_formula_gives(case: str, place: str, tmp_path: Path) -> None:
    said, weights = CASES[case]
    dictionary = Dictionary(write_saelens(tmp_path / "sae", said, tensors=weights))
    if place == "host":
        dictionary.to_device("encoder", "cpu")
        dictionary.to_device("decoder", "cpu")
    x = torch.randn(6, D_IN, generator=torch.Generator().manual_seed(1))
    features, output = by_hand(x, weights, said)
    found = dictionary.encode(x)
    norms = weights["W_dec"].norm(dim=1).numpy()
    np.testing.assert_allclose(found.numpy(), features * norms, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dictionary.decode(found, x=x).numpy(), output, rtol=1e-5, atol=1e-5)
    columns = torch.tensor([30, 2])
    np.testing.assert_allclose(
        dictionary.encode(x, columns=columns).numpy(), found[:, columns].numpy(), rtol=1e-5, atol=1e-5
    )
    spans = [values for _, values in dictionary.encode_in_ranges(x, features_at_once=16)]
    np.testing.assert_allclose(torch.cat(spans, dim=1).numpy(), found.numpy(), rtol=1e-5, atol=1e-5)
    assert dictionary.spec.kind == ("transcoder" if "transcoder" in case else "sae")
    assert dictionary.spec.layout == "saelens"


@pytest.mark.parametrize(
    ("hook", "site"),
    [
        ("blocks.3.hook_resid_post", "resid_post.3"),
        ("blocks.3.hook_resid_pre", "resid_post.2"),
        ("blocks.0.attn.hook_z", "attn_out.0"),
        ("blocks.17.hook_mlp_out", "mlp_out.17"),
        ("model.layers.5.self_attn.o_proj.input", "attn_out.5"),
    ],
)
def test_hooks_are_sites(hook: str, site: str, tmp_path: Path) -> None:
    for number, said in enumerate(
        (config(meta={"hook_name": hook}), {**config(), "metadata": None, "hook_name": hook})
    ):
        dictionary = Dictionary(write_saelens(tmp_path / str(number), said, tensors=tensors()))
        assert str(dictionary.spec.read[0]) == site == str(dictionary.spec.write[0])
        assert dictionary.spec.remarks == ()


def test_the_exact_hook_point_is_believed_over_its_translation(tmp_path: Path) -> None:
    said = transcoder("transcoder")
    weights = tensors(d_out=D_OUT, threshold=False)
    assert Dictionary(write_saelens(tmp_path / "a", said, tensors=weights)).spec.remarks == ()
    del said["metadata"]["hf_hook_name"]
    spec = Dictionary(write_saelens(tmp_path / "b", said, tensors=weights)).spec
    assert str(spec.read[0]) == "mlp_in.3"
    assert "in TransformerLens is the residual before the norm" in spec.remarks[0]


def test_older_files_that_keep_topk_beside_the_architecture_are_read(tmp_path: Path) -> None:
    said = config(architecture="standard", activation_fn_str="topk", activation_fn_kwargs={"k": 5})
    dictionary = Dictionary(write_saelens(tmp_path / "sae", said, tensors=tensors(threshold=False)))
    assert (dictionary.spec.architecture, dictionary.spec.k, dictionary.spec.declared_l0) == ("topk", 5, 5.0)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "normalised": (
        {"normalize_activations": "expected_average_only_in"},
        "normalize_activations 'expected_average_only",
    ),
    "gated": ({"architecture": "gated"}, "architecture 'gated'; of SAELens' architectures jumprelu, standard, topk"),
    "function": ({"activation_fn": "tanh-relu"}, "activation function 'tanh-relu'; relu or topk"),
    "k": ({"architecture": "topk", "k": 0}, "gives k as 0; a positive whole number"),
    "hook": (
        {"meta": {"hook_name": "blocks.3.ln2.hook_normalized"}},
        "hook_name 'blocks.3.ln2.hook_normalized'; one of",
    ),
    "embeddings": ({"meta": {"hook_name": "blocks.0.hook_resid_pre"}}, "the token embeddings, which are no site"),
    "no hook": ({"meta": {"hook_name": None}}, "does not say hook_name"),
    "head": ({"hook_head_index": 2}, "reads a single attention head"),
    "scaled": ({"finetuning_scaling_factor": True}, "finetuning scaling factor"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_change_the_numbers_is_refused(case: str, tmp_path: Path) -> None:
    changes, sentence = REFUSED[case]
    with pytest.raises(BadInput, match=sentence):
        Dictionary(write_saelens(tmp_path / "sae", config(**changes), tensors=tensors()))


def test_unknown_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has the tensor b_gate, which no dictionary of architecture jumprelu has"):
        Dictionary(write_saelens(tmp_path / "sae", config(), tensors={**tensors(), "b_gate": torch.zeros(WIDTH)}))


def test_tensors_under_saelens_names_are_named_so(tmp_path: Path) -> None:
    weights = tensors(skip=True)
    with pytest.raises(BadInput, match=r"W_skip has shape \[10, 9\]; \[10, 10\] would be right"):
        Dictionary(write_saelens(tmp_path / "a", config(), tensors={**weights, "W_skip": torch.zeros(10, 9)}))
    with pytest.raises(BadInput, match="W_dec has three axes"):
        Dictionary(write_saelens(tmp_path / "b", config(), tensors={**tensors(), "W_dec": torch.zeros(WIDTH, 2, D_IN)}))
    with pytest.raises(BadInput, match="an SAE writes what it reads"):
        Dictionary(write_saelens(tmp_path / "c", config(), tensors=tensors(d_out=D_OUT)))


def test_weights_without_configuration_are_refused(tmp_path: Path) -> None:
    folder = write_saelens(tmp_path / "sae", config(), tensors=tensors())
    (folder / "cfg.json").unlink()
    with pytest.raises(NotFound, match=r"no cfg\.json"):
        Dictionary(folder)
