"""The texts that imports bring: a corpus of their own for each kind of origin. It grows, and a text is found again
in it by a digest of its tokens, so that sources made from the same texts share them."""

import hashlib
from collections.abc import Sequence

import numpy as np

from app.db.copy import copy_rows
from app.db.database import Database
from app.db.tables import Passage


def digest_of(ids: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(ids, dtype="<i4").tobytes(), digest_size=16).digest()


async def corpus(database: Database, *, tokenizer_id: int, name: str, description: str) -> int:
    """The corpus of this name, made if it is new. One of another vocabulary is another."""
    async with database.raw() as connection:
        for number in range(1, 100):
            own = name if number == 1 else f"{name} ({number})"
            await connection.execute(
                "insert into corpus (tokenizer_id, name, description, longest) values (%s, %s, %s, 1)"
                " on conflict (name) do nothing",
                [tokenizer_id, own, description],
            )
            found = await connection.execute(
                "select id from corpus where name = %s and tokenizer_id = %s and sha256 is null", [own, tokenizer_id]
            )
            if (row := await found.fetchone()) is not None:
                return int(row[0])
    raise AssertionError("there are not a hundred vocabularies")


async def put(database: Database, corpus_id: int, texts: Sequence[np.ndarray]) -> list[int]:
    """The number of each text in the corpus, those that are new added. One import adds at a time."""
    if not texts:
        return []
    digests = [digest_of(ids) for ids in texts]
    by_digest = dict(zip(digests, texts, strict=True))
    async with database.raw() as connection:
        await connection.execute("select 1 from corpus where id = %s for update", [corpus_id])
        found = await connection.execute(
            "select digest, id from passage where corpus_id = %s and digest = any(%s)", [corpus_id, list(by_digest)]
        )
        numbers = {bytes(digest): int(number) for digest, number in await found.fetchall()}
        row = await (
            await connection.execute("select coalesce(max(id) + 1, 0) from passage where corpus_id = %s", [corpus_id])
        ).fetchone()
        assert row is not None
        first = int(row[0])
        new = [digest for digest in by_digest if digest not in numbers]
        numbers |= {digest: first + place for place, digest in enumerate(new)}
        await copy_rows(
            connection,
            Passage,
            ("corpus_id", "id", "tokens", "digest"),
            ((corpus_id, numbers[digest], by_digest[digest], digest) for digest in new),
        )
        if new:
            await connection.execute(
                "update corpus set passages = passages + %s, tokens = tokens + %s, longest = greatest(longest, %s)"
                " where id = %s",
                [len(new), sum(len(by_digest[digest]) for digest in new),
                 max(len(by_digest[digest]) for digest in new), corpus_id],
            )  # fmt: skip
    return [numbers[digest] for digest in digests]
