"""What `/readyz` asks of the database: does it answer, and are its tables the ones this code knows."""

import asyncio

from app.db.database import Database
from app.db.migrate import newest, revision
from inference.errors import GemlensError


class MigratedDatabase:
    """A database is ready when it answers and its tables are current. The latter is asked until it holds once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._current = False

    async def ready(self) -> str | None:
        try:
            await self._database.ping()
            if not self._current:
                found = await asyncio.to_thread(revision, self._database.address)
                if found != newest():
                    return f"The database's tables are at {found or 'nothing'}, and this Gemlens needs {newest()}."
                self._current = True
        except GemlensError as error:
            return str(error)
        return None
