"""Requests of the wire, field by field. Names are bounded, because sentences repeat them."""

from typing import Annotated, Any

from pydantic import Field

from app.neuronpedia.inference.dialect import Asked

Name = Annotated[str, Field(max_length=200)]
Position = Annotated[int, Field(ge=0, le=2**31 - 1)]
Index = Annotated[int, Field(ge=0, le=2**31 - 1)]
Prompts = Annotated[list[str], Field(min_length=1, max_length=256)]
Vector = Annotated[list[float], Field(min_length=1, max_length=1_000_000)]


class TokenizeAsked(Asked):
    model: Name | None = None
    text: str
    prepend_bos: bool | None = None
    """Left out, BOS is prepended, as for every activation."""


class Message(Asked):
    role: Name
    content: str


class ChatAsked(Asked):
    model: Name | None = None
    messages: list[Message]
    add_generation_prompt: bool = True
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Gemma's format has no options, so nothing here changes it."""


class _Single(Asked):
    """Exactly one of source and index, or vector and hook."""

    model: Name | None = None
    source: Name | None = None
    index: Name | Index | None = None
    vector: Vector | None = None
    hook: Name | None = None


class SingleAsked(_Single):
    prompt: str


class SingleBatchAsked(_Single):
    prompts: Prompts


class _All(Asked):
    model: Name | None = None
    source_set: Name
    selected_sources: Annotated[list[Name], Field(max_length=1000)]
    """Empty: the whole set."""
    sort_by_token_indexes: Annotated[list[Position], Field(max_length=10_000)]
    ignore_bos: bool
    num_results: Annotated[int, Field(ge=0)] | None = 25


class AllAsked(_All):
    prompt: str


class AllBatchAsked(_All):
    prompts: Prompts


class _TopK(Asked):
    model: Name | None = None
    source: Name
    top_k: Annotated[int, Field(ge=1)] | None = None
    ignore_bos: bool


class TopKAsked(_TopK):
    prompt: str


class TopKBatchAsked(_TopK):
    prompts: Prompts


class SourceAsked(Asked):
    model: Name | None = None
    source: Name
    prompts: Prompts


class RawAsked(Asked):
    model: Name | None = None
    prompts: Prompts
    layers: Annotated[list[Annotated[int, Field(ge=0, le=9999)]], Field(min_length=1, max_length=1000)] | None = None
    """Left out: every layer."""
    hook_point: Name = "residual_stream"
    type: Name = "final_output_token"


class VectorAsked(Asked):
    model: Name | None = None
    source: Name
    index: Index


class Feature(Asked):
    model: Name
    source: Name
    index: Index


class CossimAsked(Asked):
    """Exactly one of feature and vector."""

    feature: Feature | None = None
    vector: Vector | None = None
    model: Name | None = None
    source: Name
    num_results: int
    """Brought between 1 and 128."""
