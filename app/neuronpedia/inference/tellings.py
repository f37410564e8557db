"""Answers of the wire, field by field. `dfa…` and `counts` are part of it and never known here."""

from typing import Any

from pydantic import BaseModel

from app.neuronpedia.inference.dialect import Told


class Tokenized(Told):
    tokens: list[int]
    token_strings: list[str]
    prepend_bos: bool


class Span(Told):
    position: int
    token_id: int
    token_str: str
    message_index: int | None
    role: str | None
    channel: str | None
    section: str
    """header, content, footer or scaffold"""


class Chat(Told):
    prompt: str
    tokens: list[int]
    spans: list[Span]


class Values(Told):
    values: list[float]
    max_value: float
    max_value_index: int
    dfa_values: list[float] | None
    dfa_max_value: float | None
    dfa_target_index: int | None


class Single(Told):
    activation: Values
    tokens: list[str]
    tokens_is_special: list[bool]


class SingleBatch(Told):
    results: list[Single]


class FeatureValues(Told):
    source: str
    index: int
    values: list[float]
    sum_values: float
    max_value: float
    max_value_index: int
    dfa_values: list[float] | None
    dfa_target_index: int | None
    dfa_max_value: float | None


class All(Told):
    activations: list[FeatureValues]
    tokens: list[str]
    counts: list[list[float]] | None


class AllBatch(Told):
    results: list[All]


class TopFeature(Told):
    feature_index: int
    activation_value: float


class TokenTop(Told):
    token_position: int
    token: str
    is_special: bool
    top_features: list[TopFeature]


class TopK(Told):
    results: list[TokenTop]
    tokens: list[str]


class TopKBatch(Told):
    results: list[TopK]


class Active(Told):
    tokens: list[str]
    activeFeatures: dict[str, list[tuple[int, float]]]
    """By feature: position and value, wherever it fires. Written so in both dialects."""


class Source(Told):
    results: list[Active]


class LayerActivations(Told):
    layer: int
    token_indices: list[int]
    values: list[list[float]]


class RawPrompt(Told):
    token_strings: list[str]
    token_ids: list[int]
    activations: list[LayerActivations]


class Raw(Told):
    hook_point: str
    type: str
    dtype: str
    device: str
    results: list[RawPrompt]


class Direction(Told):
    vector: list[float]
    hookName: str
    """Written so in both dialects."""


class FeatureName(Told):
    model: str
    source: str
    index: int


class Near(Told):
    feature: FeatureName
    cosine_similarity: float


class Cossim(Told):
    feature: FeatureName | None
    topk_decoder_cossim_features: list[Near]


class Health(BaseModel):
    status: str


class Capabilities(BaseModel):
    """Written in snake_case in both dialects. What is not known here is null."""

    model: str
    backend: str
    device: str
    max_concurrent_requests: int
    max_tokens: int
    token_limit: int
    lens_token_limit: int
    activation_token_limit: int
    vram_budget_bytes: int
    vram_budget_available_bytes: int
    sae_cache: dict[str, Any]
    max_num_results: int
    capture_points: list[str]
    grad_support: dict[str, Any]
    hooks_available: bool
    graph_replay: bool
    static_points: list[str]
    static_writes: list[str]
    frozen_points: list[str]
    writes_available: list[str]
    generation_only: bool
    num_layers: int
    sae_sets: list[str]
    endpoints: dict[str, bool]
