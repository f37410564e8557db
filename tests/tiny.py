"""A tiny random Gemma 3 with a byte-fallback tokenizer, so that tests need no real weights and take milliseconds.

Its special ids are Gemma's own (pad 0, eos 1, bos 2, <start_of_turn> 105, <end_of_turn> 106, newline 107, byte 0 at
238), its weights are large enough for every part to matter, and its widths differ from each other so that no two
sites can be mistaken.
"""

from pathlib import Path

import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, normalizers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from inference.gemma.checkpoint import Checkpoint, checkpoint_of

VOCABULARY = 512
LAYERS = 4
D_MODEL = 32
HEADS = 4
KV_HEADS = 2
HEAD_DIM = 12
ATTN_WIDTH = HEADS * HEAD_DIM
WINDOW = 16
MODEL = "gemma-3-tiny"

_SPACE = "\u2581"
_MERGES = (
    (_SPACE, "t"), ("h", "e"), (_SPACE + "t", "he"), ("i", "n"), ("e", "r"), ("u", "s"), ("us", "er"), ("o", "d"),
    ("e", "l"), ("m", "od"), ("mod", "el"), (_SPACE, "a"), ("a", "n"), (_SPACE + "a", "n"), ("o", "f"), ("in", "g"),
)  # fmt: skip


def tiny_config(**changes: object) -> Gemma3TextConfig:
    settings: dict[str, object] = {
        "vocab_size": VOCABULARY,
        "hidden_size": D_MODEL,
        "intermediate_size": 80,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "query_pre_attn_scalar": HEAD_DIM,
        "sliding_window": WINDOW,
        "max_position_embeddings": 4096,
        "layer_types": ["sliding_attention", "full_attention"] * (LAYERS // 2),
    }
    return Gemma3TextConfig(**{**settings, **changes})


def tiny_network(config: Gemma3TextConfig | None = None, *, seed: int = 0) -> Gemma3ForCausalLM:
    """A random network in float32 whose every part changes the logits."""
    network = Gemma3ForCausalLM(config or tiny_config())
    randomise(network, seed=seed)
    return network.eval()


def randomise(network: torch.nn.Module, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(network.named_parameters()):
            scale = 0.3 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            if "embed_tokens" in name:
                parameter[0] = 0.0


def tiny_tokenizer() -> tokenizers.Tokenizer:
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    names = [*specials, *(f"<unused{i}>" for i in range(100)), "<start_of_turn>", "<end_of_turn>", "\n", "\n\n"]
    letters = [_SPACE, *(chr(code) for code in range(33, 127))]
    names += [*letters, *(f"<filler{i}>" for i in range(238 - len(names) - len(letters)))]
    names += [f"<0x{byte:02X}>" for byte in range(256)]
    names += ["".join(pair) for pair in _MERGES]
    names += [f"<filler{i}>" for i in range(len(names), VOCABULARY)]
    assert len(names) == len(set(names)) == VOCABULARY
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocabulary, list(_MERGES), unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.decoder = decoders.Sequence([decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    marks = [*specials, "<start_of_turn>", "<end_of_turn>"]
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    tokenizer.add_tokens([AddedToken("\n\n", special=False, normalized=False)])
    return tokenizer


def tiny_model(folder: Path, *, seed: int = 0, config: Gemma3TextConfig | None = None) -> Path:
    """Writes a tiny model folder: safetensors in float32, config.json, tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_network(config, seed=seed).save_pretrained(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def tiny_checkpoint(folder: Path, *, model: str = MODEL, seed: int = 0) -> Checkpoint:
    """A tiny model in `folder`, written on first use."""
    if not (folder / "tokenizer.json").exists():
        tiny_model(folder, seed=seed)
    return checkpoint_of(folder, model=model)
