"""The database of the application at hand."""

from starlette.requests import Request

from app.db.database import Database
from app.web.house import house_of
from inference.errors import Unavailable


def database_of(request: Request) -> Database:
    """The server's database, or a sentence where it has none."""
    data = house_of(request).data
    if data is None:
        raise Unavailable("This server has no database, so it can only show live activations.")
    return data
