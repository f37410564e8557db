"""Facts about the ten Gemma 3 models that Gemma Scope 2 covers.

Ids are Neuronpedia's: the base model carries no suffix, the chat model ends in `-it`. On the Hugging Face hub the base
models end in `-pt`, except the 270M, and configuration files of Gemma Scope 2 call the models by yet other names
(`gemma-v3-…`); `find_model` takes them all, so that a model is matched by what it is and never by one spelling.
"""

import re
from dataclasses import dataclass

from gemmascope.errors import UnknownName


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What base and chat model of one size share."""

    layers: int
    d_model: int
    mlp_width: int
    heads: int
    kv_heads: int
    head_dim: int
    query_scalar: int
    """`query_pre_attn_scalar`: attention scores are divided by its root. Not the head dimension at 27b."""
    window: int
    """Tokens that sliding layers see; every sixth layer is global."""
    rope_factor: int
    """Linear rope scaling of the global layers; 1 where there is none."""
    vocabulary: int
    context: int
    deep_layers: tuple[int, int, int, int]
    """The layers at which Gemma Scope 2 has every width and sparsity."""


@dataclass(frozen=True, kw_only=True)
class Model(Shape):
    id: str
    size: str
    chat: bool
    hf_repo: str
    scope_repo: str
    """The hub repository of its Gemma Scope 2 dictionaries."""

    @property
    def attn_width(self) -> int:
        """Width of the attention heads' concatenated output, which `attn_out` dictionaries read."""
        return self.heads * self.head_dim

    @property
    def training(self) -> str:
        """`pt` or `it`, as repositories spell it."""
        return "it" if self.chat else "pt"


_SMALL = {"query_scalar": 256, "window": 512, "rope_factor": 1, "vocabulary": 262_144, "context": 32_768}
_LARGE = {"query_scalar": 256, "window": 1024, "rope_factor": 8, "vocabulary": 262_208, "context": 131_072}

SHAPES: dict[str, Shape] = {
    "270m": Shape(
        layers=18, d_model=640, mlp_width=2048, heads=4, kv_heads=1, head_dim=256,
        deep_layers=(5, 9, 12, 15), **_SMALL,
    ),
    "1b": Shape(
        layers=26, d_model=1152, mlp_width=6912, heads=4, kv_heads=1, head_dim=256,
        deep_layers=(7, 13, 17, 22), **_SMALL,
    ),
    "4b": Shape(
        layers=34, d_model=2560, mlp_width=10240, heads=8, kv_heads=4, head_dim=256,
        deep_layers=(9, 17, 22, 29), **_LARGE,
    ),
    "12b": Shape(
        layers=48, d_model=3840, mlp_width=15360, heads=16, kv_heads=8, head_dim=256,
        deep_layers=(12, 24, 31, 41), **_LARGE,
    ),
    "27b": Shape(
        layers=62, d_model=5376, mlp_width=21504, heads=32, kv_heads=16, head_dim=128,
        deep_layers=(16, 31, 40, 53), **_LARGE | {"query_scalar": 168},
    ),
}  # fmt: skip


def _model(size: str, chat: bool) -> Model:
    training = "it" if chat else "pt"
    suffix = "-it" if chat else "" if size == "270m" else "-pt"
    return Model(
        id=f"gemma-3-{size}" + ("-it" if chat else ""),
        size=size,
        chat=chat,
        hf_repo=f"google/gemma-3-{size}{suffix}",
        scope_repo=f"google/gemma-scope-2-{size}-{training}",
        **vars(SHAPES[size]),
    )


MODELS: dict[str, Model] = {m.id: m for size in SHAPES for m in (_model(size, False), _model(size, True))}

_SPELLING = re.compile(
    r"(?:google/)?gemma-v?3-(?P<size>\w+?)(?:-(?P<training>pt|it))?"
    r"|(?:(?:google|mwhanna)/)?gemma-scope-2-(?P<scope_size>\w+?)-(?P<scope_training>pt|it)",
    re.IGNORECASE | re.ASCII,
)


def find_model(text: str) -> Model:
    """The model meant by an id, a hub repository (of the model or of its dictionaries) or a configuration file."""
    match = _SPELLING.fullmatch(text.strip().strip("/"))
    if match:
        size = (match["size"] or match["scope_size"]).lower()
        training = (match["training"] or match["scope_training"] or "pt").lower()
        model = MODELS.get(f"gemma-3-{size}-it" if training == "it" else f"gemma-3-{size}")
        if model:
            return model
    raise UnknownName(f"No Gemma 3 is called {text.strip()[:100]!r}; there are {', '.join(MODELS)}.")
