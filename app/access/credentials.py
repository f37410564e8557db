"""What a request shows for itself: a key in a header, a cookie, or nothing.

A key decides alone. Where one is shown that is not good, the request is refused, whatever cookie it carries: a program
with an old key should learn so. At home nobody looks.
"""

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from app.access import cookie, queries, secrets
from app.db.database import Database
from app.web.principal import PERSON, Principal, granted

MAX_CHARACTERS = 256


class Refused(Exception):
    """A key that is unknown, revoked or expired, or whose owner was disabled. Which of these is not told."""


def shown_key(headers: Headers, path: str) -> str | None:
    """`X-API-Key`, `Authorization: Bearer`, and on the inference wire `X-SECRET-KEY`."""
    if key := headers.get("x-api-key"):
        return key.strip()
    kind, _, rest = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return rest.strip()
    if path == "/v1" or path.startswith("/v1/"):
        return headers.get("x-secret-key", "").strip() or None
    return None


async def identify(request: HTTPConnection, path: str, *, database: Database | None, anonymous: str) -> Principal:
    """Who asks. Raises `Refused` for a key that is no good."""
    key = shown_key(request.headers, path)
    session = None if key is not None else cookie.read(request)
    nobody = Principal(None, "anonymous", granted([anonymous]))
    if key is not None:
        if database is None or not 0 < len(key) <= MAX_CHARACTERS:
            raise Refused
        return await _by_key(database, key)
    if session is None or database is None or len(session) > MAX_CHARACTERS:
        return nobody
    async with database.session() as work:
        row = await queries.by_sign_in(work, secrets.sha256(session))
    if row is None:
        return nobody
    scopes = granted([*PERSON, "admin"] if row.administrator else PERSON)
    return Principal(row.id, row.name, scopes, row.title, session=row.sign_in)


async def _by_key(database: Database, key: str) -> Principal:
    async with database.session() as work:
        row = await queries.by_key(work, secrets.sha256(key))
    if row is None:
        raise Refused
    # A key made by an administrator does not outlive that office.
    scopes = [scope for scope in row.scopes if scope != "admin" or row.administrator]
    return Principal(row.id, row.name, granted(scopes), row.title, key=row.prefix)
