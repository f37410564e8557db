"""The model against plain `transformers`: nothing changes by looking, and what is changed is changed exactly."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import Gemma3Config, Gemma3ForCausalLM, Gemma3ForConditionalGeneration

from inference.errors import BadInput, NotFound
from inference.gemma.checkpoint import checkpoint_of
from inference.gemma.model import Gemma
from inference.gemma.sites import KINDS, Site
from tests import tiny

TEXTS = ["the model", "an user of the 日本 🙂 model, in 12 different ways", "x" * 40, "of"]


@pytest.fixture(scope="module")
def plain(tiny_folder: Path) -> Gemma3ForCausalLM:
    network: Gemma3ForCausalLM = Gemma3ForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
    return network.eval()


def padded(rows: list[list[int]], pad: int) -> Tensor:
    length = max(len(row) for row in rows)
    return torch.tensor([row + [pad] * (length - len(row)) for row in rows])


def one(gemma: Gemma, text: str) -> Tensor:
    return torch.tensor([gemma.tokenizer.encode(text)])


@torch.no_grad()
def test_logits_are_bitwise_those_of_plain_transformers(tiny_gemma: Gemma, plain: Gemma3ForCausalLM) -> None:
    for text in TEXTS:
        ids = one(tiny_gemma, text)
        assert torch.equal(tiny_gemma.logits(ids), plain(ids).logits)


@torch.no_grad()
def test_watching_every_site_changes_no_bit(tiny_gemma: Gemma, plain: Gemma3ForCausalLM) -> None:
    seen: list[Site] = []
    sites = [Site(kind, layer) for layer in range(tiny.LAYERS) for kind in KINDS]
    edits = {site: lambda value, site=site: seen.append(site) for site in sites}
    ids = one(tiny_gemma, TEXTS[1])
    assert torch.equal(tiny_gemma.logits(ids, edits=edits), plain(ids).logits)
    assert seen == sorted(edits, key=lambda site: site.depth)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_putting_a_site_back_as_it_was_changes_no_bit(tiny_gemma: Gemma, kind: str) -> None:
    ids = one(tiny_gemma, TEXTS[1])
    edited = tiny_gemma.logits(ids, edits={Site(kind, 2): lambda value: value.clone()})
    assert torch.equal(edited, tiny_gemma.logits(ids))


@torch.no_grad()
def test_an_edit_of_the_last_residual_reaches_the_logits_exactly(tiny_gemma: Gemma) -> None:
    ids, site = one(tiny_gemma, TEXTS[1]), Site("resid_post", tiny.LAYERS - 1)
    direction = torch.randn(tiny.D_MODEL, generator=torch.Generator().manual_seed(1))
    residual = tiny_gemma.read_sites(ids, [site])[site]
    expected = tiny_gemma.unembed(tiny_gemma.final_norm(residual + direction))
    assert torch.equal(tiny_gemma.logits(ids, edits={site: lambda value: value + direction}), expected)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_changes_what_follows_and_nothing_before(tiny_gemma: Gemma, kind: str) -> None:
    ids, changed, position = one(tiny_gemma, TEXTS[1]), Site(kind, 1), 5
    before, after = Site("resid_post", 0), Site("resid_post", 3)

    def add_at_one_position(value: Tensor) -> Tensor:
        value = value.clone()
        value[:, position] += 1.0
        return value

    clean = tiny_gemma.read_sites(ids, [before, changed, after])
    edited = tiny_gemma.read_sites(ids, [before, changed, after], edits={changed: add_at_one_position})
    assert torch.equal(edited[before], clean[before])
    assert torch.equal(edited[changed], add_at_one_position(clean[changed]))
    assert torch.equal(edited[after][:, :position], clean[after][:, :position])
    assert not torch.allclose(edited[after][:, position:], clean[after][:, position:])


def test_the_pass_stops_at_the_deepest_site_asked_for(tiny_gemma: Gemma) -> None:
    calls: list[str] = []
    modules = {f"layer {i}": layer for i, layer in enumerate(tiny_gemma.layers)}
    modules |= {"mlp 1": tiny_gemma.layers[1].mlp, "head": tiny_gemma.network.lm_head, "norm": tiny_gemma.trunk.norm}
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: calls.append(name)) for name, module in modules.items()
    ]
    ids = one(tiny_gemma, "the model")
    try:
        for sites, reached in {
            (Site("resid_post", 0),): ["layer 0"],
            (Site("attn_out", 0), Site("mlp_in", 1)): ["layer 0", "layer 1"],
            (Site("mlp_out", 1),): ["layer 0", "layer 1", "mlp 1"],
            (Site("resid_post", 3),): ["layer 0", "layer 1", "mlp 1", "layer 2", "layer 3"],
            (): [],
        }.items():
            calls.clear()
            assert set(tiny_gemma.read_sites(ids, sites)) == set(sites)
            assert calls == reached
    finally:
        for handle in handles:
            handle.remove()


def test_no_hook_stays_behind_even_when_an_edit_fails(tiny_gemma: Gemma) -> None:
    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in tiny_gemma.network.modules())

    ids = one(tiny_gemma, "the model")
    before, hooks_before = tiny_gemma.logits(ids), hooks()

    def fail(value: Tensor) -> Tensor:
        raise RuntimeError("an edit failed")

    with pytest.raises(RuntimeError, match="an edit failed"):
        tiny_gemma.logits(ids, edits={Site("mlp_in", 1): fail})
    tiny_gemma.read_sites(ids, [Site("mlp_out", 0)])
    assert hooks() == hooks_before
    assert torch.equal(tiny_gemma.logits(ids), before)


def test_right_padded_batches_equal_single_prompts(tiny_gemma: Gemma) -> None:
    rows = [tiny_gemma.tokenizer.encode(text) for text in TEXTS]
    sites = [Site("attn_out", 1), Site("mlp_in", 2), Site("mlp_out", 3), Site("resid_post", 3)]
    together = tiny_gemma.read_sites(padded(rows, tiny_gemma.tokenizer.pad), sites)
    for i, row in enumerate(rows):
        alone = tiny_gemma.read_sites(torch.tensor([row]), sites)
        for site in sites:
            difference = (together[site][i, : len(row)] - alone[site][0]).norm()
            assert difference <= 1e-5 * alone[site][0].norm(), site


def test_logits_of_last_positions_are_those_rows(tiny_gemma: Gemma) -> None:
    rows = [tiny_gemma.tokenizer.encode(text) for text in TEXTS]
    ids, last = padded(rows, tiny_gemma.tokenizer.pad), torch.tensor([len(row) - 1 for row in rows])
    everywhere = tiny_gemma.logits(ids)
    chosen = tiny_gemma.logits(ids, last_positions=last)
    assert chosen.shape == (len(rows), tiny.VOCABULARY)
    torch.testing.assert_close(chosen, everywhere[torch.arange(len(rows)), last], rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("published_first", [False, True], ids=["today's names", "names first published"])
def test_a_multimodal_checkpoint_is_loaded_as_its_text_model(tmp_path: Path, published_first: bool) -> None:
    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=tiny.tiny_config().to_dict(),
        vision_config={**vision, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
        image_token_index=511,
    )
    whole = Gemma3ForConditionalGeneration(config)
    tiny.randomise(whole, seed=3)
    whole.eval().save_pretrained(tmp_path, save_original_format=published_first)
    tiny.tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    gemma = Gemma.load(checkpoint_of(tmp_path, model=tiny.MODEL), device="cpu", dtype="float32")
    ids = one(gemma, TEXTS[1])
    torch.testing.assert_close(gemma.logits(ids), whole(input_ids=ids).logits, rtol=1e-5, atol=1e-5)
    assert not any("vision" in name for name, _ in gemma.network.named_parameters())


def test_another_architecture_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    for file in tiny_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "gemma2"}')
    with pytest.raises(BadInput, match="gemma2 model"):
        Gemma.load(checkpoint_of(tmp_path, model="gemma-3-tiny"), device="cpu")


def test_weights_that_do_not_fit_their_configuration_are_refused(tmp_path: Path) -> None:
    tiny.tiny_model(tmp_path / "a")
    config = (tmp_path / "a" / "config.json").read_text()
    assert '"num_hidden_layers": 4' in config
    shorter = tiny.tiny_config(num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"])
    tiny.tiny_model(tmp_path / "b", config=shorter)
    (tmp_path / "b" / "config.json").write_text(config)
    with pytest.raises(BadInput, match="do not fit"):
        Gemma.load(checkpoint_of(tmp_path / "b", model="gemma-3-tiny"), device="cpu", dtype="float32")


def test_weights_cut_short_are_refused(tmp_path: Path) -> None:
    tiny.tiny_model(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BadInput, match="cut short"):
        Gemma.load(checkpoint_of(tmp_path, model="gemma-3-tiny"), device="cpu", dtype="float32")


def test_a_folder_of_pickles_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((tiny_folder / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(NotFound, match="never read"):
        checkpoint_of(tmp_path, model="gemma-3-tiny")


@pytest.mark.parametrize("shape", [(3,), (1, 0), (1, 2, 3)])
def test_ids_that_are_no_table_are_refused(tiny_gemma: Gemma, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="prompts, tokens"):
        tiny_gemma.logits(torch.zeros(shape, dtype=torch.long))


def test_the_unembedding_is_the_embedding(tiny_gemma: Gemma) -> None:
    assert tiny_gemma.unembedding.shape == (tiny.VOCABULARY, tiny.D_MODEL)
    assert torch.equal(tiny_gemma.unembedding, tiny_gemma.trunk.embed_tokens.weight)
    assert not any(parameter.requires_grad for parameter in tiny_gemma.network.parameters())
