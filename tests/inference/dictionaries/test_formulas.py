"""Encode and decode against the formulas written out in loops, for every kind of dictionary."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from inference.dictionaries import Dictionary
from inference.errors import BadInput
from tests.inference.dictionaries import reference
from tests.inference.dictionaries.conftest import KINDS
from tests.inference.dictionaries.make import rewrite
from tests.tiny_dictionaries import tiny_tensors, write_multi, write_single

TOKENS = 4


def inputs(dictionary: Dictionary) -> dict[int, torch.Tensor]:
    draw = torch.Generator().manual_seed(11)
    return {layer: torch.randn(TOKENS, dictionary.spec.d_in, generator=draw) for layer in dictionary.spec.layers}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_folded_features_are_raw_ones_times_the_causal_decoder_norm(
    kind: str, dtype: str, folders: dict[str, Path], narrow_folders: dict[str, Path]
) -> None:
    folder = (folders if dtype == "float32" else narrow_folders)[kind]
    dictionary, layers = Dictionary(folder), reference.load(folder)
    assert dictionary.spec.dtype == dtype
    for position, (layer, x) in enumerate(inputs(dictionary).items()):
        raw = reference.raw_features(x.double().numpy(), layers[position])
        norms = reference.norms(layers[position], position)
        found = dictionary.encode(x, layer=layer)
        assert found.dtype == torch.float32
        assert 0.05 < (raw > 0).mean() < 0.5
        np.testing.assert_array_equal(found.numpy() > 0, raw > 0)
        np.testing.assert_allclose(found.numpy(), raw * norms, rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(dictionary.norms(layer).numpy(), norms, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("with_skip", [True, False])
def test_decoding_sums_over_earlier_layers_and_adds_the_bias_once(
    kind: str, dtype: str, with_skip: bool, folders: dict[str, Path], narrow_folders: dict[str, Path]
) -> None:
    folder = (folders if dtype == "float32" else narrow_folders)[kind]
    dictionary, layers = Dictionary(folder), reference.load(folder)
    given = inputs(dictionary)
    raw = [reference.raw_features(x.double().numpy(), layers[position]) for position, x in enumerate(given.values())]
    features = {layer: dictionary.encode(x, layer=layer) for layer, x in given.items()}
    for target, (layer, x) in enumerate(given.items()):
        found = dictionary.decode(features, layer=layer, x=x, with_skip=with_skip)
        expected = reference.reconstruction(raw, layers, target=target, x=x.double().numpy() if with_skip else None)
        np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_dense_and_sparse_decoding_agree(kind: str, folders: dict[str, Path]) -> None:
    dictionary = Dictionary(folders[kind])
    layer = dictionary.spec.layers[-1]
    draw = torch.Generator().manual_seed(2)
    dense = {one: torch.rand(TOKENS, dictionary.spec.width, generator=draw) for one in dictionary.spec.layers}
    sparse = {one: values * (values > 0.95) for one, values in dense.items()}
    x = torch.randn(TOKENS, dictionary.spec.d_in, generator=draw)
    both = dictionary.decode(dense, layer=layer, x=x) + dictionary.decode(sparse, layer=layer, x=x)
    together = {one: dense[one] + sparse[one] for one in dense}
    zero = {one: torch.zeros_like(values) for one, values in dense.items()}
    nothing = dictionary.decode(zero, layer=layer, x=x)
    torch.testing.assert_close(both, dictionary.decode(together, layer=layer, x=x) + nothing, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        dictionary.decode(zero, layer=layer, with_skip=False), dictionary.b_dec(layer).expand(TOKENS, -1)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_chosen_columns_and_ranges_equal_the_whole(kind: str, folders: dict[str, Path]) -> None:
    dictionary = Dictionary(folders[kind])
    chosen = torch.tensor([95, 0, 7, 7])
    for layer, x in inputs(dictionary).items():
        whole = dictionary.encode(x, layer=layer)
        torch.testing.assert_close(dictionary.encode(x, layer=layer, columns=chosen), whole[:, chosen])
        assert dictionary.encode(x, layer=layer, columns=torch.tensor([], dtype=torch.int64)).shape == (TOKENS, 0)
        ranges = list(dictionary.encode_in_ranges(x, features_at_once=40, layer=layer))
        assert [start for start, _ in ranges] == [0, 40, 80]
        torch.testing.assert_close(torch.cat([values for _, values in ranges], dim=1), whole)


def test_columns_cost_only_those_columns(folders: dict[str, Path]) -> None:
    dictionary = Dictionary(folders["resid_post"])
    x = torch.randn(TOKENS, dictionary.spec.d_in)
    with FlopCounterMode(display=False) as counter:
        dictionary.encode(x, columns=torch.tensor([3, 4, 5]))
    assert counter.get_total_flops() == 2 * TOKENS * dictionary.spec.d_in * 3


def test_a_skip_needs_what_was_read(folders: dict[str, Path]) -> None:
    dictionary = Dictionary(folders["skip transcoder"])
    features = torch.zeros(2, dictionary.spec.width)
    with pytest.raises(BadInput, match="has a skip connection"):
        dictionary.decode(features)
    assert dictionary.decode(features, with_skip=False).shape == (2, 32)


def test_a_gradient_flows_from_the_reconstruction_to_the_input(folders: dict[str, Path]) -> None:
    dictionary = Dictionary(folders["skip transcoder"])
    x = torch.randn(3, 32, requires_grad=True)
    dictionary.decode(dictionary.encode(x), x=x).square().sum().backward()
    assert x.grad is not None
    assert bool(x.grad.abs().sum() > 0)


@pytest.mark.parametrize("interface", ["old", "new"])
def test_encoding_stays_in_float32_whatever_the_process_is_set_to(
    interface: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CPUs with bfloat16 units, and on GPUs, these settings would change the numbers."""
    dictionary = Dictionary(folders["resid_post"])
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    expected = dictionary.encode(x)
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [backend.fp32_precision for backend in backends]
    within: list[list[str]] = []
    product = torch.addmm

    def watched(*args: torch.Tensor) -> torch.Tensor:
        within.append([backend.fp32_precision for backend in backends])
        return product(*args)

    monkeypatch.setattr(torch, "addmm", watched)
    try:
        if interface == "old":
            torch.set_float32_matmul_precision("medium")
        else:
            for backend in backends:
                backend.fp32_precision = "tf32"
        loose = [backend.fp32_precision for backend in backends]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = dictionary.encode(x)
        assert [backend.fp32_precision for backend in backends] == loose
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
        torch.set_float32_matmul_precision("highest")
    assert within == [["ieee", "ieee"]]
    assert torch.equal(found, expected)


def test_the_example_of_the_page_on_units_is_right(tmp_path: Path) -> None:
    """Two ways of storing one dictionary; both show a length of 3."""
    x = torch.tensor([[3.0, 1.0]])
    source = write_single(tmp_path, "resid_post", 0)
    for scale in (1.0, 2.0):
        tensors = {
            "w_enc": scale * torch.tensor([[0.5], [0.5]]),
            "b_enc": scale * torch.tensor([-0.5]),
            "threshold": scale * torch.tensor([0.4]),
            "w_dec": torch.tensor([[0.0, 2.0]]) / scale,
            "b_dec": torch.zeros(2),
        }
        dictionary = Dictionary(rewrite(source, tmp_path / str(scale), tensors))
        assert dictionary.encode(x).tolist() == [[3.0]]
        assert dictionary.decode(dictionary.encode(x)).tolist() == [[0.0, 3.0]]


def test_an_input_of_another_site_is_refused(folders: dict[str, Path]) -> None:
    dictionary = Dictionary(folders["attn_out"])
    with pytest.raises(BadInput, match=r"reads rows of 48 numbers \(attn_out\.1\).*\[2, 32\]"):
        dictionary.encode(torch.zeros(2, 32))


def test_features_that_do_not_exist_are_named(folders: dict[str, Path]) -> None:
    dictionary = Dictionary(folders["resid_post"])
    with pytest.raises(BadInput, match=r"has no feature 96; its features are 0 to 95"):
        dictionary.decoder_rows(torch.tensor([1, 96]))
    with pytest.raises(BadInput, match="has no feature -1"):
        dictionary.encode(torch.zeros(1, 32), columns=torch.tensor([-1]))


def test_a_layer_must_be_said_where_there_are_several(folders: dict[str, Path]) -> None:
    dictionary = Dictionary(folders["crosscoder"])
    assert dictionary.spec.layers == (0, 2, 3)
    with pytest.raises(BadInput, match="say which layer"):
        dictionary.encode(torch.zeros(1, 32))
    with pytest.raises(BadInput, match="no latents of layer 1, but of 0, 2, 3"):
        dictionary.encode(torch.zeros(1, 32), layer=1)
    with pytest.raises(BadInput, match="needs the features of layer 0 as well"):
        dictionary.decode({2: torch.zeros(1, 96)}, layer=2)


def test_rows_of_a_crosscoder_are_its_causal_decoder(folders: dict[str, Path]) -> None:
    dictionary, layers = Dictionary(folders["crosscoder"]), reference.load(folders["crosscoder"])
    rows = dictionary.decoder_rows(torch.tensor([4, 9]), layer=2)
    expected = layers[1]["w_dec"][[4, 9], 1:].reshape(2, -1)
    np.testing.assert_array_equal(rows.numpy(), expected.astype(np.float32))
    np.testing.assert_array_equal(
        dictionary.decoder_rows(torch.tensor([4]), layer=2, target=3).numpy(), expected[:1, 32:].astype(np.float32)
    )
    assert [str(site) for site in dictionary.write_sites(2)] == ["resid_post.2", "resid_post.3"]
    with pytest.raises(BadInput, match="write to no layer before"):
        dictionary.decoder_rows(torch.tensor([4]), layer=2, target=0)


def test_entries_for_earlier_layers_are_never_used(tmp_path: Path) -> None:
    clean = Dictionary(write_multi(tmp_path / "clean", "crosscoder", layers=(0, 1)))
    tensors = [tiny_tensors(targets=2, position=position, seed=position) for position in range(2)]
    tensors[1]["w_dec"][:, 0] = 9.0
    dirty = Dictionary(rewrite(clean.spec.folder, tmp_path / "dirty", tensors))
    x = {layer: torch.randn(3, 32) for layer in (0, 1)}
    for layer in (0, 1):
        features = {one: clean.encode(x[one], layer=one) for one in x}
        assert torch.equal(clean.encode(x[layer], layer=layer), dirty.encode(x[layer], layer=layer))
        assert torch.equal(clean.decode(features, layer=layer), dirty.decode(features, layer=layer))
    assert dirty.anticausal_peaks() == (0.0, 9.0)
