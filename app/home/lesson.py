"""What the tour is told with: one feature of this server, a text that it fires on, one that it should be silent on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from app.home.interesting import Interesting
from app.store import features, sources, tokens
from app.store.sources import SourceRow
from app.web.examples import Drawn, draw_bands, ids_shown
from gemmascope.errors import UnknownName
from gemmascope.models import find_model

STEPS = (
    "A feature fires",
    "What it fires on",
    "Many at once",
    "From layer to layer",
    "What it does",
)
EXAMPLES = 4
TOKENS = 8


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Why there can be no tour yet, and what would change that."""

    model: str | None
    sentence: str
    command: str | None = None
    fraction: float | None = None
    """How far what is missing is on its way."""


@dataclass(frozen=True, kw_only=True)
class Promoted:
    id: int
    text: str
    logit: float


@dataclass(frozen=True, kw_only=True)
class Lesson:
    model: str
    served: bool
    layers: int | None
    d_model: int | None
    width: int
    """Features of the source."""
    subject: Interesting
    text: str
    """Of its strongest example, as far as it is shown."""
    examples: tuple[Drawn, ...]
    corpus: str
    other: Interesting | None
    """A feature of something else, whose text the subject is tried on."""
    other_text: str | None
    promoted: tuple[Promoted, ...]
    suppressed: tuple[Promoted, ...]


async def prepare(
    session: AsyncSession, model: str, rows: Sequence[SourceRow], chosen: Sequence[Interesting], *, served: bool
) -> Lesson:
    """`chosen` have examples, and are not empty."""
    subject = subject_of(model, rows, chosen)
    other = next((one for one in chosen if one is not subject and one.label != subject.label), None)
    source = next(row for row in rows if row.name == subject.source)
    harvest = sources.needs_harvest(source)
    found = (await features.examples(session, harvest, [subject.index], bands=(0,), most=2 * EXAMPLES))[subject.index]
    detail = await features.detail(session, harvest.id, subject.index)
    pushed = detail.top_logits[:TOKENS].tolist() if detail else []
    pulled = detail.bottom_logits[:TOKENS].tolist() if detail else []
    known = await tokens.texts(session, harvest.tokenizer_id, {*ids_shown(found, "snippet"), *pushed, *pulled})
    assert subject.example is not None
    return Lesson(
        model=model,
        served=served and source.location is not None,
        layers=_shape(model)[0],
        d_model=_shape(model)[1],
        width=source.width,
        subject=subject,
        text=subject.example.text,
        examples=draw_bands(found, known, peak=subject.peak)[0].examples[:EXAMPLES],
        corpus=harvest.corpus,
        other=other,
        other_text=other.example.text if other and other.example else None,
        promoted=_weights(pushed, detail.top_logit_values.tolist() if detail else [], known),
        suppressed=_weights(pulled, detail.bottom_logit_values.tolist() if detail else [], known),
    )


def subject_of(model: str, rows: Sequence[SourceRow], chosen: Sequence[Interesting]) -> Interesting:
    """Of an autoencoder about two thirds of the way up, where features are most readable, if there is one."""
    kinds = {row.name: row.kind for row in rows}
    layers = _shape(model)[0] or max(row.layer for row in rows) + 1
    return min(
        chosen,
        key=lambda one: (kinds.get(one.source) != "sae", one.counted, abs(one.layer - 2 * layers / 3), one.index),
    )


def _weights(ids: Sequence[int], values: Sequence[float], known: Mapping[int, str]) -> tuple[Promoted, ...]:
    return tuple(
        Promoted(id=id_, text=known.get(id_, tokens.UNKNOWN), logit=value)
        for id_, value in zip(ids, values, strict=False)
    )


def _shape(model: str) -> tuple[int | None, int | None]:
    try:
        found = find_model(model)
    except UnknownName:
        return None, None
    return found.layers, found.d_model
