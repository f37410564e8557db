"""One feature, read: everything that its page shows, from the database in one transaction."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from app.features import bins, queries
from app.features.view import FeatureView, Logits, Names, Origin, Relation, Relations, TokenWeight, cite
from app.store import features, labels, tokens
from app.store.features import Bands, Detail, Stat
from app.store.sources import SourceRow
from app.web.examples import Context, draw_bands, ids_shown

WEAKEST = 0.1
"""Below this cosine the nearest feature of another layer is no more alike than chance; not shown."""
MENTIONED = 8
"""Features in each list of relations."""


async def read_feature(session: AsyncSession, source: SourceRow, index: int, *, context: Context) -> FeatureView:
    harvest = source.harvest
    written = tuple(await labels.of_feature(session, source.id, index))
    stat: Stat | None = None
    detail: Detail | None = None
    bands: tuple[Bands, ...] = ()
    known: Mapping[int, str] = {}
    relations = Relations()
    if harvest is not None:
        stat, detail = (await features.known(session, harvest.id, [index])).get(index, (None, None))
        if stat is not None and not stat.dead:
            bands = (await features.examples(session, harvest, [index])).get(index, ())
        wanted = ids_shown(bands, context)
        if detail is not None:
            wanted.update(*(ids.tolist() for ids in (detail.top_logits, detail.bottom_logits, detail.top_tokens)))
            relations = await _relations(session, source, detail)
        known = await tokens.texts(session, harvest.tokenizer_id, wanted)
    peak = stat.peak if stat is not None else 0.0
    return FeatureView(
        model=source.model,
        source=source.name,
        index=index,
        layer=source.layer,
        width=source.width,
        kind=source.kind,
        source_set=source.set_name,
        reads=source.reads,
        writes=source.writes,
        labels=written,
        harvested=stat is not None,
        stat=stat,
        norm=detail.norm if detail else None,
        threshold=detail.threshold if detail else None,
        bands=draw_bands(bands, known, peak=peak, context=context),
        tokens=_weights(detail.top_tokens, detail.top_token_values, known) if detail else (),
        logits=_logits(detail, known),
        activations=bins.activations(detail.histogram.tolist(), harvest.settings) if detail and harvest else None,
        relations=relations,
        names=Names.of(source, index),
        origin=Origin.of(source),
        cite=cite(source, index=index),
    )


def _logits(detail: Detail | None, known: Mapping[int, str]) -> Logits:
    if detail is None:
        return Logits()
    return Logits(
        promoted=_weights(detail.top_logits, detail.top_logit_values, known),
        suppressed=_weights(detail.bottom_logits, detail.bottom_logit_values, known),
        histogram=bins.logits(detail.logit_histogram.tolist(), detail.logit_low, detail.logit_high),
    )


def _weights(ids: np.ndarray, values: np.ndarray, known: Mapping[int, str]) -> tuple[TokenWeight, ...]:
    return tuple(
        TokenWeight(id=id_, text=known.get(id_, tokens.UNKNOWN), value=value)
        for id_, value in zip(ids.tolist(), values.tolist(), strict=True)
    )


async def _relations(session: AsyncSession, source: SourceRow, detail: Detail) -> Relations:
    before, after = (None, None)
    if len(detail.before) or len(detail.after):
        before, after = await queries.beside(session, source)
    here = queries.Place.of(source)
    lists: dict[str, Any] = {
        "neighbours": (here, detail.neighbours, detail.neighbour_cosines),
        "before": (before, detail.before, detail.before_cosines),
        "after": (after, detail.after, detail.after_cosines),
        "co_firing": (here, detail.co_firing, detail.co_firing_scores),
    }
    kept = {
        name: (of, list(_strongest(indexes, values, least=WEAKEST if name in ("before", "after") else 0.0)))
        for name, (of, indexes, values) in lists.items()
        if of is not None
    }
    found = await queries.known(
        session, {(of.id, index): (of, index) for of, some in kept.values() for index, _ in some}.values()
    )
    related = {
        name: tuple(
            Relation(source=of.name, index=index, value=value, **found.get((of.name, index), queries.NOTHING)._asdict())
            for index, value in some
        )
        for name, (of, some) in kept.items()
    }
    return Relations(
        source_before=before.name if before else None, source_after=after.name if after else None, **related
    )


def _strongest(indexes: np.ndarray, values: np.ndarray, *, least: float) -> Iterable[tuple[int, float]]:
    pairs = zip(indexes[:MENTIONED].tolist(), values[:MENTIONED].tolist(), strict=True)
    return ((index, value) for index, value in pairs if value >= least)
