"""`python -m bench.scale`: what harvesting all of Gemma Scope 2 would take, for docs/scale.md.

Counts come from the catalogue, sizes from what was measured here, and the rest is arithmetic: nothing is run. The H100
is computed from its published peaks at one stated share of them.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from gemmascope.catalogue import Entry, entries
from gemmascope.models import MODELS, Model

TOKENS = 1_000_000
"""Of the corpus; what depends on it grows in proportion."""
UTILISATION = 0.4
BFLOAT16_FLOPS, FLOAT32_FLOPS = 989e12, 67e12
"""H100 SXM, dense, as published: the model runs in bfloat16, dictionaries in float32 without TF32."""
DEVICE_BYTES = 80e9 * 0.9
FEATURE_BYTES, EXAMPLE_BYTES, EXAMPLES = 2_825, 75, 45
"""In Postgres, indexes included; and how many examples a feature has that fires at all levels."""
LABEL_BYTES = 3_900
"""A label with its vector, its words and its place in both indexes."""
EXAMPLES_PER_SECOND = 112_000
"""Into one Postgres by one loader, as `python -m bench loading` measured it on two cores."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one model's dictionaries."""

    model: str
    sources: int
    features: int
    dictionary_bytes: float
    forward_s: float
    """Seconds of one H100, passes repeated for each group of encoders that fits beside the model."""
    groups: int
    encoders_s: float
    weights_s: float
    """Promoted tokens and neighbours: once, whatever the corpus."""

    @property
    def gpu_hours(self) -> float:
        return (self.forward_s + self.encoders_s + self.weights_s) / 3600

    @property
    def postgres_bytes(self) -> float:
        return self.features * (FEATURE_BYTES + EXAMPLES * EXAMPLE_BYTES + LABEL_BYTES)

    @property
    def loading_hours(self) -> float:
        return self.features * EXAMPLES / EXAMPLES_PER_SECOND / 3600


def cost(model: Model) -> Cost:
    there = [entry for entry in entries(model.id) if entry.status != "absent"]
    encoders = sum(entry.width * _reads(entry, model) for entry in there)
    decoders = sum(entry.width * _reads(entry, model) * _written_layers(entry, model) for entry in there)
    room = DEVICE_BYTES - 2 * _parameters(model)
    groups = math.ceil(4 * encoders / room)
    logits = 2 * model.vocabulary * sum(entry.width * model.d_model for entry in there)
    neighbours = sum(3 * 2 * entry.width**2 * model.d_model for entry in there)
    fast, exact = BFLOAT16_FLOPS * UTILISATION, FLOAT32_FLOPS * UTILISATION
    return Cost(
        model=model.id,
        sources=len(there),
        features=sum(entry.width for entry in there),
        dictionary_bytes=4 * (encoders + decoders),
        forward_s=2 * _layer_parameters(model) * TOKENS * groups / fast,
        groups=groups,
        encoders_s=2 * encoders * TOKENS / exact,
        weights_s=(logits + neighbours) / exact,
    )


def _reads(entry: Entry, model: Model) -> int:
    return model.attn_width if entry.name.folder.startswith("attn") else model.d_model


def _written_layers(entry: Entry, model: Model) -> int:
    if entry.name.folder.startswith("clt"):
        return model.layers
    return len(entry.name.all_layers) if entry.name.multi_layer else 1


def _layer_parameters(model: Model) -> int:
    """What a token is multiplied with on its way to the last layer."""
    attention = model.d_model * model.head_dim * 2 * (model.heads + model.kv_heads)
    return model.layers * (attention + 3 * model.d_model * model.mlp_width)


def _parameters(model: Model) -> int:
    return _layer_parameters(model) + model.vocabulary * model.d_model


def lines() -> Iterator[str]:
    costs = [cost(model) for model in MODELS.values()]
    stored = sum(one.postgres_bytes for one in costs)
    yield "| model | sources | features | files | groups | GPU-hours: passes, encoders, weights | Postgres | loading |"
    yield "|---|---|---|---|---|---|---|---|"
    for one in costs:
        parts = ", ".join(f"{part / 3600:.1f}" for part in (one.forward_s, one.encoders_s, one.weights_s))
        yield (
            f"| {one.model} | {one.sources:,} | {one.features / 1e6:,.1f} M | {one.dictionary_bytes / 1e12:.2f} TB | "
            f"{one.groups} | {parts} | {one.postgres_bytes / 1e12:.2f} TB | {one.loading_hours:.1f} h |"
        )
    yield (
        f"| all | {sum(one.sources for one in costs):,} | {sum(one.features for one in costs):,} | "
        f"{sum(one.dictionary_bytes for one in costs) / 1e12:.1f} TB | | "
        f"{sum(one.gpu_hours for one in costs):,.0f} together | {stored / 1e12:.1f} TB | "
        f"{sum(one.loading_hours for one in costs):,.0f} h |"
    )


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines()) + "\n")
