"""A database's address as people write it, and what is wrong when nobody answers there."""

from dataclasses import dataclass
from typing import LiteralString
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import URL, make_url

from inference.errors import BadInput, Unavailable

OLDEST_POSTGRES = 16
EXTENSION, OLDEST_EXTENSION = "vector", (0, 8)


@dataclass(frozen=True)
class Address:
    """`url` is what libpq understands, password included; print `shown` instead."""

    url: str
    behind_pgbouncer: bool
    """From `?pgbouncer=true`: nothing may then be kept in a connection from one transaction to the next."""

    @classmethod
    def parse(cls, text: str) -> "Address":
        scheme, separator, rest = text.strip().partition("://")
        if not separator or scheme.split("+")[0] not in ("postgres", "postgresql"):
            raise BadInput(
                f"A database address looks like postgresql://user:password@host:5432/name; '{_safe(text)}' does not."
            )
        parts = urlsplit("postgresql://" + rest)
        query = parse_qsl(parts.query, keep_blank_values=True)
        pgbouncer = any(name == "pgbouncer" and value.lower() in ("true", "1", "yes") for name, value in query)
        query = [(name, value) for name, value in query if name != "pgbouncer"]
        url = urlunsplit(parts._replace(query=urlencode(query, safe="/", quote_via=quote)))
        try:
            conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise BadInput(f"The database address '{_safe(text)}' cannot be read: {error}") from error
        return cls(url, pgbouncer)

    @property
    def shown(self) -> str:
        return _safe(self.url)

    @property
    def for_sqlalchemy(self) -> URL:
        return make_url(self.url).set(drivername="postgresql+psycopg")


def check(address: Address) -> None:
    """Connects once and sees that everything Gemlens needs is there; a sentence says what is not."""
    try:
        connection = psycopg.connect(address.url, connect_timeout=5, prepare_threshold=None, autocommit=True)
    except psycopg.OperationalError as error:
        raise Unavailable(_why(address, str(error).strip())) from error
    with connection:

        def ask(query: LiteralString, *values: str) -> str | None:
            row = connection.execute(query, values or None).fetchone()
            return None if row is None or row[0] is None else str(row[0])

        major = connection.info.server_version // 10000
        if major < OLDEST_POSTGRES:
            raise Unavailable(
                f"The database at {address.shown} is Postgres {major}; Gemlens needs {OLDEST_POSTGRES} or newer."
            )
        if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
            raise Unavailable(
                f"The database at {address.shown} is encoded as {encoding}; Gemlens needs UTF8. "
                "Make one with: create database gemlens encoding 'UTF8' template template0"
            )
        if ask("select pg_is_in_recovery()") == "True":
            raise Unavailable(f"The database at {address.shown} is a read-only replica; Gemlens needs the primary.")
        installed = ask("select extversion from pg_extension where extname = %s", EXTENSION)
        found = installed or ask("select default_version from pg_available_extensions where name = %s", EXTENSION)
        if found is None:
            raise Unavailable(
                f"The database server at {address.shown} lacks the extension pgvector. Install it there (on Debian: "
                f"apt install postgresql-{major}-pgvector) and start again."
            )
        if tuple(int(part) for part in found.split(".")[:2]) < OLDEST_EXTENSION:
            wanted = ".".join(str(part) for part in OLDEST_EXTENSION)
            remedy = "run: alter extension vector update" if installed else "upgrade it there"
            raise Unavailable(
                f"The database at {address.shown} has pgvector {found}; Gemlens needs {wanted}: {remedy}."
            )


def _why(address: Address, said: str) -> str:
    """The sentence for what libpq said."""
    wanted = conninfo_to_dict(address.url)
    where = f"{wanted.get('host', 'localhost')}:{wanted.get('port', 5432)}"
    user, name = wanted.get("user", ""), wanted.get("dbname") or wanted.get("user", "")
    lower = said.lower()
    if "password authentication failed" in lower or "no password supplied" in lower:
        return f"The database server at {where} refuses the password of user '{user}'. Correct GEMLENS_DATABASE_URL."
    if "database" in lower and "does not exist" in lower:
        return f"The server at {where} has no database '{name}'. Make it with: createdb -h {where.split(':')[0]} {name}"
    if "role" in lower and "does not exist" in lower:
        return f"The database server at {where} knows no user '{user}'. Correct GEMLENS_DATABASE_URL."
    if "no pg_hba.conf entry" in lower:
        return f"The database server at {where} does not let user '{user}' in from here: its pg_hba.conf has no entry."
    if "too many clients" in lower or "remaining connection slots" in lower:
        return f"The database server at {where} has no connection left. Raise its max_connections or close others."
    if "name or service not known" in lower or "could not translate" in lower or "failed to resolve" in lower:
        return f"The host '{wanted.get('host')}' of the database address cannot be found."
    if "refused" in lower or "no such file" in lower or "timeout" in lower or "timed out" in lower:
        return f"No database server answers at {where}. Start it, or correct GEMLENS_DATABASE_URL."
    return f"The database at {address.shown} cannot be reached: {said.splitlines()[-1]}"


def _safe(text: str) -> str:
    """The address without its password."""
    parts = urlsplit(text.strip())
    if "@" not in parts.netloc:
        return text.strip()
    login, _, host = parts.netloc.rpartition("@")
    query = urlencode([(k, v) for k, v in parse_qsl(parts.query) if k != "password"], safe="/", quote_via=quote)
    return urlunsplit(parts._replace(netloc=f"{login.split(':')[0]}@{host}", query=query))
