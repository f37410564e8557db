"""Loading a harvest: rows come in unseen, part by part, and one UPDATE brings all of them to light.

A part (a run of features in order of index) and its row in `shard` are written in one transaction, so loading goes on
where it stopped, whatever stopped it. Finishing counts the rows again and compares a digest of the packed examples with
what was given; only then does the source point to the new harvest.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from app.db.copy import copy_rows
from app.db.database import Database
from app.db.packing import Band, pack_all
from app.db.partitions import drop_harvest, make_room
from app.db.tables import Example, FeatureDetail, FeatureStat, Passage
from inference.errors import GemlensError, NotFound

EMPTY: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StoredBand:
    """The examples of one band as they will lie in the table."""

    band: int
    low: float
    high: float
    share: float | None
    packed: Band


@dataclass(frozen=True, kw_only=True)
class FeatureRow:
    """All that is stored of one feature; what an origin does not know stays empty."""

    index: int
    density: float
    peak: float
    mean: float
    flags: int = 0
    score: float | None = None
    norm: float | None = None
    threshold: float | None = None
    top_logits: Any = EMPTY
    top_logit_values: Any = EMPTY
    bottom_logits: Any = EMPTY
    bottom_logit_values: Any = EMPTY
    top_tokens: Any = EMPTY
    top_token_values: Any = EMPTY
    neighbours: Any = EMPTY
    neighbour_cosines: Any = EMPTY
    before: Any = EMPTY
    before_cosines: Any = EMPTY
    after: Any = EMPTY
    after_cosines: Any = EMPTY
    co_firing: Any = EMPTY
    co_firing_scores: Any = EMPTY
    histogram: Any = EMPTY
    logit_histogram: Any = EMPTY
    logit_low: float | None = None
    logit_high: float | None = None
    bands: tuple[StoredBand, ...] = ()


STAT = ("index", "density", "peak", "mean", "score", "flags")
DETAIL = (
    "index", "norm", "threshold", "top_logits", "top_logit_values", "bottom_logits", "bottom_logit_values",
    "top_tokens", "top_token_values", "neighbours", "neighbour_cosines", "before", "before_cosines", "after",
    "after_cosines", "co_firing", "co_firing_scores", "histogram", "logit_histogram", "logit_low", "logit_high",
)  # fmt: skip
EXAMPLE = ("index", "band", "low", "high", "share", "packed")


ANALYZED = {
    "feature_stat": "harvest_id, index, density, peak, mean, score, flags",
    "feature_detail": "harvest_id, index, top_logits, bottom_logits, top_tokens",
    "example": "harvest_id, index, band",
    "passage": "corpus_id, id",
}
"""What queries look for. Counting the elements of all other arrays would take longer than loading them."""


class NotAsGiven(GemlensError):
    """What lies in the database is not what was given."""


class Loading:
    """One harvest of one source on its way in."""

    def __init__(self, database: Database, *, harvest_id: int, source_id: int, done: Mapping[int, str]) -> None:
        self._database = database
        self.harvest_id = harvest_id
        self.source_id = source_id
        self.done = dict(done)
        """Number and checksum of the parts that were loaded."""

    @classmethod
    async def begin(
        cls,
        database: Database,
        *,
        source_id: int,
        corpus_id: int,
        checkpoint_id: int | None,
        origin: str,
        dtype: str | None,
        version: str,
        tokens: int,
        settings: Mapping[str, Any],
        identity: str,
    ) -> "Loading":
        """A new harvest, or an unfinished one of the same identity to go on with. The identity says what it is made
        from, such as a checksum of a manifest; other unfinished harvests of the source are left alone."""
        async with database.raw() as connection:
            await connection.execute("select 1 from source where id = %s for update", [source_id])
            found = await connection.execute(
                "select id from harvest where source_id = %s and state = 'loading' and settings->>'identity' = %s",
                [source_id, identity],
            )
            row = await found.fetchone()
            if row is None:
                made = await connection.execute(
                    "insert into harvest"
                    " (source_id, corpus_id, checkpoint_id, origin, dtype, version, tokens, settings)"
                    " values (%s, %s, %s, %s, %s, %s, %s, %s) returning id",
                    [source_id, corpus_id, checkpoint_id, origin, dtype, version, tokens,
                     Jsonb({**settings, "identity": identity})],
                )  # fmt: skip
                row = await made.fetchone()
            assert row is not None
            harvest_id = int(row[0])
            shards = await connection.execute("select number, sha256 from shard where harvest_id = %s", [harvest_id])
            done = {int(number): str(sha256) for number, sha256 in await shards.fetchall()}
        async with database.raw() as connection:
            await make_room(connection, harvest_id)
        return cls(database, harvest_id=harvest_id, source_id=source_id, done=done)

    async def put(self, number: int, sha256: str, rows: Iterable[FeatureRow]) -> None:
        """Loads a part, unless it was. All rows of a part appear together."""
        if self.done.get(number) == sha256:
            return
        part = list(rows)
        unpacked = [(row.index, band) for row in part for band in row.bands]
        packed_ = pack_all([band.packed for _, band in unpacked])
        bands = [(index, band, packed) for (index, band), packed in zip(unpacked, packed_, strict=True)]
        id_ = self.harvest_id
        async with self._database.raw() as connection:
            # A longer list of what is still to be indexed would be indexed no faster, and its pages would stay.
            await connection.execute("set local gin_pending_list_limit = '256kB'")
            # A part of the same number with another checksum was made otherwise: this one takes its place.
            if number in self.done:
                await self._remove(connection, number, [row.index for row in part])
            await copy_rows(connection, FeatureStat, ("harvest_id", *STAT), (_values(id_, row, STAT) for row in part))
            await copy_rows(
                connection, FeatureDetail, ("harvest_id", *DETAIL), (_values(id_, row, DETAIL) for row in part)
            )
            await copy_rows(
                connection,
                Example,
                ("harvest_id", *EXAMPLE),
                ((id_, index, band.band, band.low, band.high, band.share, packed) for index, band, packed in bands),
            )
            await connection.execute(
                "insert into shard (harvest_id, number, sha256, rows, bytes, digest) values (%s, %s, %s, %s, %s, %s)",
                [id_, number, sha256, len(part), sum(len(packed) for *_, packed in bands),
                 digest_of((index, band.band, packed) for index, band, packed in bands)],
            )  # fmt: skip
        self.done[number] = sha256

    async def finish(self, *, features: int) -> None:
        """Verifies what lies there, and lets the source show it. Doing it again changes nothing."""
        async with self._database.raw() as connection:
            found = await (await connection.execute(FOUND, {"harvest": self.harvest_id})).fetchone()
            assert found is not None
            stats, details, bytes_, digest, told_rows, told_bytes, told_digest = found
            if not stats == details == told_rows == features:
                raise NotAsGiven(
                    f"Of {features:,} features {told_rows:,} were given, {stats:,} have numbers and {details:,} have "
                    "details. Load them again."
                )
            if (bytes_, digest) != (told_bytes, told_digest):
                raise NotAsGiven("The examples in the database are not those that were given. Load them again.")
            await connection.execute(
                "update harvest set state = 'ready', finished = coalesce(finished, now()) where id = %s",
                [self.harvest_id],
            )
            await connection.execute(
                "update source set current_harvest_id = %s where id = %s", [self.harvest_id, self.source_id]
            )
        async with self._database.raw() as connection:
            for table, columns in ANALYZED.items():
                await connection.execute(f"analyze {table} ({columns})".encode())

    async def _remove(self, connection: AsyncConnection[Any], number: int, indexes: list[int]) -> None:
        for table in ("feature_stat", "feature_detail", "example"):
            await connection.execute(
                f"delete from {table} where harvest_id = %s and index = any(%s)".encode(), [self.harvest_id, indexes]
            )
        await connection.execute("delete from shard where harvest_id = %s and number = %s", [self.harvest_id, number])


def digest_of(bands: Iterable[tuple[int, int, bytes]]) -> int:
    """The exclusive or over all bands of the first 64 bits of an MD5 over index, band and the MD5 of the bytes: the
    same in whatever order, and Postgres can compute it. It guards against accidents, not against people."""
    total = 0
    for index, band, packed in bands:
        inner = hashlib.md5(packed, usedforsecurity=False).hexdigest()
        outer = hashlib.md5(f"{index}:{band}:{inner}".encode(), usedforsecurity=False).hexdigest()
        total ^= int(outer[:16], 16)
    return total - (1 << 64) if total >= 1 << 63 else total


FOUND = """
    select
        (select count(*) from feature_stat where harvest_id = %(harvest)s),
        (select count(*) from feature_detail where harvest_id = %(harvest)s),
        found.bytes, found.digest, told.rows, told.bytes, told.digest
    from (
        select coalesce(sum(octet_length(packed)), 0) as bytes,
            coalesce(bit_xor(('x' || left(md5(index || ':' || band || ':' || md5(packed)), 16))::bit(64)::bigint), 0)
                as digest
        from example where harvest_id = %(harvest)s
    ) found, (
        select coalesce(sum(rows), 0) as rows, coalesce(sum(bytes), 0) as bytes, coalesce(bit_xor(digest), 0) as digest
        from shard where harvest_id = %(harvest)s
    ) told
"""


async def put_corpus(
    database: Database,
    *,
    tokenizer_id: int,
    name: str,
    description: str,
    sha256: str | None,
    longest: int,
    passages: Iterable[tuple[int, Any]],
) -> int:
    """A corpus with its passages, in one transaction; one that is there under its name and checksum is kept."""
    async with database.raw() as connection:
        found = await connection.execute("select id, sha256 from corpus where name = %s", [name])
        row = await found.fetchone()
        if row is not None and row[1] == sha256 and sha256 is not None:
            return int(row[0])
        if row is not None:
            raise NotAsGiven(f"There is another corpus named {name!r} already. Give this one a name of its own.")
        made = await connection.execute(
            "insert into corpus (tokenizer_id, name, description, sha256, longest) values (%s, %s, %s, %s, %s)"
            " on conflict (name) do nothing returning id",
            [tokenizer_id, name, description, sha256, longest],
        )
        row = await made.fetchone()
        if row is None:
            raise NotAsGiven(f"The corpus {name!r} is being loaded by somebody else. Try again when that is done.")
        corpus_id = int(row[0])
        tokens = 0

        def rows() -> Iterable[tuple[int, int, Any]]:
            nonlocal tokens
            for number, ids in passages:
                tokens += len(ids)
                yield corpus_id, number, ids

        count = await copy_rows(connection, Passage, ("corpus_id", "id", "tokens"), rows())
        await connection.execute(
            "update corpus set passages = %s, tokens = %s where id = %s", [count, tokens, corpus_id]
        )
    return corpus_id


async def delete_harvest(database: Database, harvest_id: int) -> None:
    """Deletes a harvest that no source shows, with all that belongs to it."""
    async with database.raw() as connection:
        shown = await (
            await connection.execute("select 1 from source where current_harvest_id = %s", [harvest_id])
        ).fetchone()
        if shown is not None:
            raise NotFound("This harvest is what its source shows, so it is not deleted.")
        await drop_harvest(connection, harvest_id)


def _values(harvest_id: int, row: FeatureRow, columns: Iterable[str]) -> tuple[Any, ...]:
    return (harvest_id, *(getattr(row, column) for column in columns))
