"""Saved views: what a page needs to look the same again, under a short id that cannot be guessed.

A view belongs to a kind of page, which alone knows what its body means. Views are read for ever, so a kind counts the
forms of its bodies.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.tables import Model, SavedView
from inference.errors import NotFound

ID_BYTES = 9
"""Twelve letters, 72 bits."""


@dataclass(frozen=True, kw_only=True)
class View:
    id: str
    kind: str
    model: str | None
    form: int
    body: Mapping[str, Any]
    created: datetime
    result: Mapping[str, Any] | None = None
    """What was computed then, where it is worth keeping."""


async def save(
    session: AsyncSession,
    *,
    kind: str,
    model: str | None,
    form: int,
    body: Mapping[str, Any],
    result: Mapping[str, Any] | None = None,
) -> str:
    """The id of a new view."""
    model_id = None if model is None else await session.scalar(select(Model.id).where(Model.name == model))
    view = SavedView(
        id=secrets.token_urlsafe(ID_BYTES),
        kind=kind,
        model_id=model_id,
        form=form,
        body=dict(body),
        result=None if result is None else dict(result),
    )
    session.add(view)
    await session.flush()
    return view.id


async def load(session: AsyncSession, view_id: str) -> View:
    asked = (
        select(SavedView, Model.name).outerjoin(Model, Model.id == SavedView.model_id).where(SavedView.id == view_id)
    )
    row = (await session.execute(asked)).one_or_none()
    if row is None or (row[0].expires is not None and row[0].expires < datetime.now(UTC)):
        raise NotFound("There is no saved view at this address: it was removed, or the address is not whole.")
    view, model = row
    return View(
        id=view.id,
        kind=view.kind,
        model=model,
        form=view.form,
        body=view.body,
        created=view.created,
        result=view.result,
    )


async def put_result(session: AsyncSession, view_id: str, result: Mapping[str, Any]) -> None:
    """Adds what was computed for a view."""
    await session.execute(update(SavedView).where(SavedView.id == view_id).values(result=dict(result)))
