"""Saved views come back as they were kept, and only by an id that cannot be guessed."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from app.db.tables import SavedView
from app.store import views
from inference.errors import NotFound
from tests.app.world import MODEL, World


async def test_a_view_comes_back_as_it_was_kept(world: World) -> None:
    body = {"text": "Paris\n🐈", "feature": "7"}
    async with world.database.session() as session:
        id_ = await views.save(session, kind="live", model=MODEL, form=1, body=body)
        other = await views.save(session, kind="live", model=MODEL, form=1, body=body)
    assert id_ != other
    assert len(id_) == 12
    async with world.database.session() as session:
        view = await views.load(session, id_)
    assert (view.kind, view.model, view.form, view.body) == ("live", MODEL, 1, body)


async def test_a_view_that_expired_or_never_was_is_not_found(world: World) -> None:
    async with world.database.session() as session:
        id_ = await views.save(session, kind="live", model=None, form=1, body={})
        await session.execute(update(SavedView).values(expires=datetime.now(UTC) - timedelta(seconds=1)))
    async with world.database.session() as session:
        for asked in (id_, "never-was"):
            with pytest.raises(NotFound, match="There is no saved view"):
                await views.load(session, asked)
