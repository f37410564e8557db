from sqlalchemy import select

from app.db.database import Database
from app.db.tables import Model


async def test_a_session_commits_at_its_end(database: Database) -> None:
    async with database.session() as session:
        session.add(Model(name="gemma-3-270m", layers=18, width=640, chat=False))
    async with database.session() as session:
        assert (await session.scalars(select(Model.name))).all() == ["gemma-3-270m"]
