"""A `transformers` configuration from a GGUF file's metadata.

Written here because `transformers`' own reading of Gemma 3 files (5.23) drops two facts, which changes logits by a
tenth of their scale: the linear rope factor 8 of the 4b, 12b and 27b, and the 27b's query scale, which is not its head
dimension. Sizes are told apart by their number of layers, as llama.cpp does.
"""

from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import Gemma3TextConfig

from inference.errors import BadInput
from inference.gemma.gguf_file import GgufHeader

_LAYERS_WITH_SCALED_ROPE = (34, 48, 62)
_LAYERS_27B = 62
_ROPE_FACTOR = 8.0


def config_of(header: GgufHeader) -> Gemma3TextConfig:
    """The text model's configuration. Refuses files that hold anything but a whole Gemma 3."""
    metadata = header.metadata
    architecture = metadata.get("general.architecture")
    if architecture != "gemma3":
        raise BadInput(f"{header.path.name} holds a model of architecture {architecture!r}. Gemlens reads gemma3.")
    if int(metadata.get("split.count", 1)) > 1:
        raise BadInput(
            f"{header.path.name} is one part of a split GGUF. Join the parts first: llama-gguf-split --merge."
        )
    embedding = header.tensors.get("token_embd.weight")
    if embedding is None:
        raise BadInput(f"{header.path.name} holds no token embedding (token_embd.weight).")

    def key(name: str, default: Any = None) -> Any:
        found = metadata.get(f"gemma3.{name}", default)
        if found is None:
            raise BadInput(f"{header.path.name} does not state gemma3.{name}, which a Gemma 3 file has.")
        return found

    layers, width, heads = key("block_count"), key("embedding_length"), key("attention.head_count")
    head_dim = key("attention.key_length")
    try:
        if not 0 < layers <= len(header.tensors):
            raise ValueError(f"{layers} layers and {len(header.tensors)} tensors")
        return Gemma3TextConfig(
            architectures=["Gemma3ForCausalLM"],
            vocab_size=embedding.shape[0],
            hidden_size=width,
            intermediate_size=key("feed_forward_length"),
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=key("attention.head_count_kv"),
            head_dim=head_dim,
            query_pre_attn_scalar=query_scale(layers=layers, width=width, heads=heads, head_dim=head_dim),
            # The file keeps it in single precision: 9.999999974752427e-07 is 1e-6.
            rms_norm_eps=float(f"{key('attention.layer_norm_rms_epsilon', 1e-6):.6g}"),
            sliding_window=key("attention.sliding_window"),
            max_position_embeddings=key("context_length"),
            rope_parameters=rope_parameters(
                layers=layers,
                base=key("rope.freq_base", 1e6),
                local_base=key("rope.freq_base_swa", 1e4),
                scaling=key("rope.scaling.type", "unstated"),
                factor=key("rope.scaling.factor", 1.0),
            ),
            tie_word_embeddings="output.weight" not in header.tensors,
            bos_token_id=metadata.get("tokenizer.ggml.bos_token_id", 2),
            eos_token_id=metadata.get("tokenizer.ggml.eos_token_id", 1),
            pad_token_id=metadata.get("tokenizer.ggml.padding_token_id", 0),
        )
    except (ValueError, TypeError, ArithmeticError, StrictDataclassError) as error:
        raise BadInput(f"{header.path.name} describes no possible Gemma 3: {error}.") from error


def query_scale(*, layers: int, width: int, heads: int, head_dim: int) -> int:
    """`query_pre_attn_scalar`: attention scores are divided by its root. At 27b it is 5376 / 32 = 168."""
    return width // heads if layers == _LAYERS_27B else head_dim


def rope_parameters(
    *, layers: int, base: float, local_base: float, scaling: str, factor: float
) -> dict[str, dict[str, Any]]:
    """Rotary frequencies: of the global layers, stretched where the file or the size says so, and of the local ones."""
    if scaling == "unstated" and layers in _LAYERS_WITH_SCALED_ROPE:
        scaling, factor = "linear", _ROPE_FACTOR
    if scaling not in ("unstated", "none", "linear"):
        raise BadInput(f"The file's rope scaling is {scaling!r}. Gemma 3 has none or a linear one.")
    everywhere: dict[str, Any] = {"rope_type": "default", "rope_theta": float(base)}
    if scaling == "linear":
        everywhere = {"rope_type": "linear", "rope_theta": float(base), "factor": float(factor)}
    return {
        "full_attention": everywhere,
        "sliding_attention": {"rope_type": "default", "rope_theta": float(local_base)},
    }
