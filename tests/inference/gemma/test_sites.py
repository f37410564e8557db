"""Sites: their names, and that what is read at each is what its definition says."""

import pytest
import torch
from torch import Tensor
from transformers import Gemma3ForCausalLM

from inference.errors import BadInput
from inference.gemma.model import Gemma
from inference.gemma.sites import KINDS, Site
from tests import tiny

ALL_SITES = [Site(kind, layer) for layer in range(tiny.LAYERS) for kind in KINDS]


@pytest.fixture(scope="module")
def ids(tiny_gemma: Gemma) -> Tensor:
    return torch.tensor(
        [tiny_gemma.tokenizer.encode("the model of an user: 日本 🙂 and more, over the sliding window")]
    )


def norm(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * (1 + weight)


def sites_by_definition(network: Gemma3ForCausalLM, ids: Tensor) -> dict[Site, Tensor]:
    """Gemma 3's pass, written out with matrix products alone."""
    config, length = network.config, ids.shape[1]
    heads, kv_heads, width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    weights = dict(network.named_parameters())
    x = weights["model.embed_tokens.weight"][ids[0]] * config.hidden_size**0.5
    found = {}
    for layer in range(config.num_hidden_layers):
        p = {name.split(f"layers.{layer}.")[1]: w for name, w in weights.items() if f"layers.{layer}." in name}
        kind = config.layer_types[layer]
        theta = config.rope_parameters[kind]["rope_theta"]
        angles = torch.arange(length)[:, None] / theta ** (torch.arange(0, width, 2) / width)
        cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)

        def rotate(q: Tensor, cos: Tensor = cos, sin: Tensor = sin) -> Tensor:
            first, second = q.chunk(2, -1)
            return q * cos + torch.cat([-second, first], -1) * sin

        h = norm(x, p["input_layernorm.weight"])
        q = (h @ p["self_attn.q_proj.weight"].T).view(length, heads, width).transpose(0, 1)
        k = (h @ p["self_attn.k_proj.weight"].T).view(length, kv_heads, width).transpose(0, 1)
        v = (h @ p["self_attn.v_proj.weight"].T).view(length, kv_heads, width).transpose(0, 1)
        q = rotate(norm(q, p["self_attn.q_norm.weight"]))
        k = rotate(norm(k, p["self_attn.k_norm.weight"]))
        k, v = k.repeat_interleave(heads // kv_heads, 0), v.repeat_interleave(heads // kv_heads, 0)
        scores = q @ k.transpose(1, 2) * config.query_pre_attn_scalar**-0.5
        distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
        hidden = distance < 0
        if kind == "sliding_attention":
            hidden = hidden | (distance >= config.sliding_window)
        heads_out = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ v
        found[Site("attn_out", layer)] = z = heads_out.transpose(0, 1).reshape(length, heads * width)
        x = x + norm(z @ p["self_attn.o_proj.weight"].T, p["post_attention_layernorm.weight"])
        found[Site("mlp_in", layer)] = m = norm(x, p["pre_feedforward_layernorm.weight"])
        gate = torch.nn.functional.gelu(m @ p["mlp.gate_proj.weight"].T, approximate="tanh")
        out = (gate * (m @ p["mlp.up_proj.weight"].T)) @ p["mlp.down_proj.weight"].T
        found[Site("mlp_out", layer)] = o = norm(out, p["post_feedforward_layernorm.weight"])
        found[Site("resid_post", layer)] = x = x + o
    return found


@torch.no_grad()
def test_every_site_is_the_tensor_of_its_definition(tiny_gemma: Gemma, ids: Tensor) -> None:
    assert ids.shape[1] > tiny.WINDOW
    read = tiny_gemma.read_sites(ids, ALL_SITES)
    expected = sites_by_definition(tiny_gemma.network, ids)
    assert set(read) == set(expected)
    for site, value in read.items():
        assert value.shape == (1, ids.shape[1], tiny_gemma.site_width(site)), site
        torch.testing.assert_close(value[0], expected[site], rtol=2e-4, atol=2e-4)


@torch.no_grad()
def test_the_last_layers_residual_stands_before_the_final_norm(tiny_gemma: Gemma, ids: Tensor) -> None:
    last = tiny_gemma.read_sites(ids, [Site("resid_post", tiny.LAYERS - 1)])[Site("resid_post", tiny.LAYERS - 1)]
    plain = tiny_gemma.network(ids, output_hidden_states=True, use_cache=False)
    assert not torch.allclose(last, plain.hidden_states[-1], atol=0.1)
    assert torch.equal(tiny_gemma.final_norm(last), plain.hidden_states[-1])
    assert torch.equal(tiny_gemma.unembed(tiny_gemma.final_norm(last)), plain.logits)


@pytest.mark.parametrize("site", ALL_SITES, ids=str)
def test_a_sites_name_reads_back(site: Site) -> None:
    assert Site.parse(str(site)) == site


@pytest.mark.parametrize("text", ["", "resid_post", "resid_post.", "resid_post.01", "resid.3", "mlp_in.-1", "mlp_in.٣"])
def test_what_is_no_site_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadInput, match=r"resid_post\.12"):
        Site.parse(text)


def test_sites_sort_in_the_order_in_which_a_pass_reaches_them() -> None:
    order = sorted(ALL_SITES, key=lambda site: site.depth)
    assert [str(site) for site in order[:5]] == ["attn_out.0", "mlp_in.0", "mlp_out.0", "resid_post.0", "attn_out.1"]


def test_a_layer_that_is_not_there_is_refused(tiny_gemma: Gemma, ids: Tensor) -> None:
    with pytest.raises(BadInput, match="from 0 to 3"):
        tiny_gemma.read_sites(ids, [Site("resid_post", 4)])
