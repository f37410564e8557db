"""What can be asked of the model: one file per question, each a generator of stages over a workshop (`work`)."""

from collections.abc import Callable, Mapping
from typing import Any

from inference.engine import protocol
from inference.engine.operations.ablate import ablate
from inference.engine.operations.activations import activations
from inference.engine.operations.encode import encode
from inference.engine.operations.gradient import gradient
from inference.engine.operations.nearest import nearest
from inference.engine.operations.next_tokens import next_tokens
from inference.engine.operations.pooled import pooled
from inference.engine.operations.rows import decoder_rows
from inference.engine.operations.score import score
from inference.engine.operations.sites import sites
from inference.engine.operations.sources import named_sources
from inference.engine.operations.sparse import sparse_activations
from inference.engine.operations.top_features import top_features
from inference.engine.operations.words import embed, tokenize
from inference.engine.work import Stages
from inference.engine.workshop import Workshop

STAGES: Mapping[type[protocol.Message], Callable[[Any, Workshop], Stages]] = {
    protocol.Activations: activations,
    protocol.TopFeatures: top_features,
    protocol.SparseActivations: sparse_activations,
    protocol.Pooled: pooled,
    protocol.NextTokens: next_tokens,
    protocol.Sites: sites,
    protocol.Encode: encode,
    protocol.DecoderRows: decoder_rows,
    protocol.Nearest: nearest,
    protocol.Score: score,
    protocol.Ablate: ablate,
    protocol.Gradient: gradient,
}

__all__ = ["STAGES", "embed", "named_sources", "tokenize"]
