"""Quality cards in the database: what was measured is added, and the latest of each source is shown."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.tables import Checkpoint, Evaluation, Model, Source
from app.web.quality import Card, read_card
from inference.errors import NotFound

Figures = dict[str, Any]


async def add(
    session: AsyncSession, model: str, source: str, figures: Figures, *, measured: datetime | None = None
) -> None:
    """Keeps what was measured of a source, beside what was before. `measured` is when; None for now."""
    asked = (
        select(Source.id, Source.model_id)
        .join(Model, Model.id == Source.model_id)
        .where(Model.name == model, Source.name == source)
    )
    row = (await session.execute(asked)).one_or_none()
    if row is None:
        raise NotFound(f"{source} of {model} was removed while it was measured; nothing was kept.")
    origin = figures["origin"]
    weights = {"model_id": row.model_id, "sha256": origin["checkpoint"]["sha256"], "dtype": origin["dtype"]}
    made = insert(Checkpoint).values(**weights, origin=origin["checkpoint"]["origin"])
    await session.execute(made.on_conflict_do_nothing(index_elements=list(weights)))
    checkpoint_id = (await session.scalars(select(Checkpoint.id).filter_by(**weights))).one()
    session.add(
        Evaluation(
            source_id=row.id,
            checkpoint_id=checkpoint_id,
            text=text_in_words(origin["text"]),
            version=origin["version"],
            figures=dict(figures),
            **({} if measured is None else {"created": measured}),
        )
    )
    await session.flush()


def text_in_words(text: Mapping[str, Any]) -> str:
    size = f"{text['tokens']:,} tokens in {text['passages']:,} passages"
    if text["kind"] == "sampled":
        return f"sampled from the model ({text['name']}), {size}"
    return f"{text['name']} ({text['kind']}), {size}"


async def latest(session: AsyncSession, model: str) -> dict[str, Card]:
    """The latest card of each source of a model that has one."""
    asked = (
        select(
            Source.name,
            Evaluation.figures,
            Evaluation.created,
            Evaluation.text,
            Evaluation.version,
            Checkpoint.sha256,
            Checkpoint.dtype,
            Checkpoint.origin,
        )
        .join(Source, Source.id == Evaluation.source_id)
        .join(Model, Model.id == Source.model_id)
        .join(Checkpoint, Checkpoint.id == Evaluation.checkpoint_id)
        .where(Model.name == model)
        .ext(distinct_on(Evaluation.source_id))
        .order_by(Evaluation.source_id, Evaluation.created.desc(), Evaluation.id.desc())
    )
    cards = [
        read_card(
            row.name,
            row.figures,
            measured=row.created,
            text=row.text,
            checkpoint=(row.sha256, row.dtype, row.origin),
            version=row.version,
        )
        for row in await session.execute(asked)
    ]
    return {card.source: card for card in cards if card is not None}
