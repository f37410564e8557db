"""A feature, and a source, as others see them when they are handed on: title, picture, parts of the embed."""

from collections.abc import Mapping
from typing import Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from app.features import maps
from app.features.maps import Bin
from app.features.view import FeatureView
from app.store.sources import SourceRow
from app.web import cards, numbers, tokens
from app.web.cards import Card, Fact, Heat
from app.web.sharing import Part, Shared, share

PARTS = (
    Part(name="explanation", title="Label"),
    Part(name="test", title="Try a text"),
    Part(name="activations", title="Examples"),
    Part(name="plots", title="Logits and histograms"),
    Part(name="link", title="Link"),
)
SHOWN = 5
"""Tokens of a list on a card."""


def shared_feature(
    request: Request, view: FeatureView, state: Mapping[str, str | int | None], *, saved: str | None = None
) -> Shared:
    """`saved` is the saved view that holds a text of one's own."""
    return share(
        request,
        *(("s", saved) if saved else (view.model, view.source, view.index)),
        query={name: value for name, value in state.items() if not saved or name != "text"},
        title=f"{view.title} · {view.source}/{view.index}",
        description=description(view),
        card=("s", saved) if saved else (view.model, view.source, view.index),
        parts=PARTS,
    )


def description(view: FeatureView) -> str:
    said = [f"Feature {view.index} of {view.source}, a dictionary of {view.model}."]
    if not view.harvested or view.stat is None:
        said.append("It has no examples yet.")
    elif view.dead:
        said.append(f"It fired on none of {numbers.count(view.origin.tokens or 0)} tokens.")
    else:
        said.append(f"It fires on {numbers.share(view.stat.density)} of tokens, up to {numbers.value(view.stat.peak)}.")
        if view.tokens:
            said.append("Most on " + ", ".join(tokens.glyphs(one.text.strip() or one.text) for one in view.tokens[:4]))
    return " ".join(said)


def feature_card(view: FeatureView) -> Card:
    card = Card(
        title=view.title,
        place=f"{view.model} · {view.source}/{view.index}",
        lists=tuple(
            (title, tuple(one.text for one in some[:SHOWN]))
            for title, some in (("Promotes", view.logits.promoted), ("Suppresses", view.logits.suppressed))
            if some
        ),
    )
    if not view.harvested or view.stat is None:
        return msgspec.structs.replace(card, note="Nobody has run a corpus through this source yet: no examples.")
    if view.dead:
        counted = numbers.count(view.origin.tokens or 0)
        return msgspec.structs.replace(card, note=f"A dead feature: it fired on none of {counted} tokens.")
    strongest = view.bands[0].examples[0] if view.bands and view.bands[0].examples else None
    bars = view.activations
    return msgspec.structs.replace(
        card,
        text=tuple(Heat(spot.text, spot.level) for spot in strongest.spots) if strongest else (),
        note="" if strongest else "It fires, but no examples were kept.",
        facts=(
            Fact("Density", numbers.share(view.stat.density)),
            Fact("Peak", numbers.value(view.stat.peak)),
        ),
        bars=cards.heights(tuple(bar.height for bar in bars.bars)) if bars else (),
        bars_title="Activations",
        bars_from=numbers.value(bars.low) if bars else "",
        bars_to=numbers.value(bars.high) if bars else "",
    )


KINDS = {
    "sae": "A sparse autoencoder",
    "transcoder": "A transcoder",
    "clt": "A layer of a cross-layer transcoder",
    "crosscoder": "A layer of a crosscoder",
}


async def spread(session: AsyncSession, source: SourceRow) -> tuple[Bin, ...]:
    """How often its features fire: for its card."""
    return () if source.harvest is None else (await maps.distributions(session, source.harvest.id))[0]


class Described(Protocol):
    """What is said of a source, by whoever holds it."""

    @property
    def model(self) -> str: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def width(self) -> int: ...
    @property
    def layer(self) -> int: ...
    @property
    def reads(self) -> tuple[str, ...]: ...
    @property
    def writes(self) -> tuple[str, ...]: ...


def shared_source(request: Request, name: str, source: Described, state: Mapping[str, str | int | None]) -> Shared:
    return share(
        request,
        source.model,
        name,
        query=state,
        title=f"{name} · {source.model}",
        description=f"{_what(source)} Every feature with its label, and how often and how strongly it fires.",
        card=(source.model, name),
    )


def source_card(source: SourceRow, densities: tuple[Bin, ...]) -> Card:
    harvest = source.harvest
    return Card(
        title=source.name,
        place=source.model,
        note=_what(source)
        + ("" if harvest else " Nobody has run a corpus through it here yet.")
        + (f" Examples from {harvest.corpus}, {numbers.count(harvest.tokens)} tokens." if harvest else ""),
        facts=(Fact("Features", numbers.count(source.width)), Fact("Layer", str(source.layer))),
        bars=cards.heights(tuple(float(one.features) for one in densities)),
        bars_title="Features by how often they fire",
        bars_from=numbers.share(densities[0].low) if densities else "",
        bars_to=numbers.share(min(1.0, densities[-1].high)) if densities else "",
    )


def _what(source: Described) -> str:
    reads = f" It reads {', '.join(source.reads)}" if source.reads else ""
    writes = f" and writes {', '.join(source.writes)}" if source.writes and source.writes != source.reads else ""
    kind = KINDS.get(source.kind or "", "A source")
    end = f".{reads}{writes}." if reads else "."
    return f"{kind} with {numbers.count(source.width)} features on layer {source.layer}{end}"
