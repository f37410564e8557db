"""Tiny GGUF files of Gemma 3, written with the `gguf` package as llama.cpp's converter writes them."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType, TokenType
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from tests.tiny import tiny_config, tiny_network, tiny_tokenizer

# Attention scores of the 27b are divided by the root of width / heads, not of the head dimension.
_WIDTH = 64


def shaped_like(size: str) -> Gemma3TextConfig:
    """A tiny configuration with the number of layers, rope and query scale of a published size."""
    layers = {"270m": 18, "1b": 26, "4b": 34, "12b": 48, "27b": 62}[size]
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e6}
    if layers > 26:
        rope = {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}
    return tiny_config(
        hidden_size=_WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=32,
        layer_types=None,
        query_pre_attn_scalar=_WIDTH // 4 if size == "27b" else 8,
        rope_parameters={
            "full_attention": rope,
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    )


def write_gguf(
    path: Path,
    network: Gemma3ForCausalLM | None = None,
    *,
    kind: GGMLQuantizationType = GGMLQuantizationType.F32,
    changes: dict[str, Any] | None = None,
    leave_out: str = "",
    state_rope: bool = False,
) -> Path:
    """Writes a network's weights, matrices as `kind` where their rows allow it. `changes` replaces metadata.
    Converters of some time leave the rope's scaling out; `state_rope` writes it."""
    network = network or tiny_network()
    config = network.config
    writer = gguf.GGUFWriter(path, "gemma3")
    writer.add_name("Tiny Gemma")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(1e6)
    writer.add_sliding_window(config.sliding_window)
    if state_rope:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_parameters["full_attention"]["factor"])
    _add_tokenizer(writer)
    for key, value in (changes or {}).items():
        writer.add_key_value(key, value, gguf.GGUFValueType.get_type(value))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, config.num_hidden_layers)
    for name, parameter in network.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stored = f"{names.get_name(name.removesuffix('.weight'))}.weight"
        if stored == leave_out:
            continue
        _add(writer, stored, parameter.numpy() + (1 if "norm" in name else 0), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, name: str, values: np.ndarray, kind: GGMLQuantizationType) -> None:
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    if values.ndim == 1 or values.shape[-1] % block:
        writer.add_tensor(name, values.astype(np.float32))
    else:
        writer.add_tensor(name, gguf.quants.quantize(values.astype(np.float32), kind), raw_dtype=kind)


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    tokenizer = tiny_tokenizer()
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    added = tokenizer.get_added_tokens_decoder()
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    types = []
    for number, token in enumerate(tokens):
        if number in added:
            types.append(TokenType.CONTROL if added[number].special else TokenType.USER_DEFINED)
        else:
            types.append(TokenType.BYTE if token.startswith("<0x") else TokenType.NORMAL)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.encode() for token in tokens])
    writer.add_token_scores([-float(number) for number in range(len(tokens))])
    writer.add_token_types(types)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
