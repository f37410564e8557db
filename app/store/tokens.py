"""Token text for pages, from the vocabulary's table: no tokenizer is loaded to read a text.

A vocabulary never changes under its id, so what was read once is kept, per database.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch, one_word
from app.db.copy import copy_rows
from app.db.database import Database
from app.db.tables import Token, Tokenizer
from inference.errors import BadInput, NotFound

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_KNOWN: WeakKeyDictionary[Any, dict[int, dict[int, str]]] = WeakKeyDictionary()
UNKNOWN = "\ufffd"
TEXTS = "select id, text from token where tokenizer_id = %(tokenizer)s and id = any(%(ids)s::integer[])"


async def texts(session: AsyncSession, tokenizer_id: int, ids: Iterable[int]) -> Mapping[int, str]:
    """The text of each token as it reads in a text, leading space included; a lone byte as `<0x0A>`."""
    known = _KNOWN.setdefault(session.get_bind(), {}).setdefault(tokenizer_id, {})
    if missing := set(ids).difference(known):
        known.update(await fetch(session, TEXTS, {"tokenizer": tokenizer_id, "ids": one_word(missing)}))
    return known


def pieces(ids: Sequence[int], known: Mapping[int, str]) -> list[str]:
    """What each token adds to the text: a character split over byte tokens stands at the first of them, the others
    are empty; bytes that are no character are U+FFFD."""
    found = [known.get(id_, UNKNOWN) for id_ in ids]
    if "<0x" not in "".join(found):
        return found
    position = 0
    while position < len(found):
        first = _BYTE.fullmatch(found[position]) if found[position][:3] == "<0x" else None
        if first is None:
            position += 1
            continue
        length = _utf8_length(int(first[1], 16))
        run = [_BYTE.fullmatch(piece) for piece in found[position : position + length]]
        character, used = UNKNOWN, 1
        if len(run) == length and all(run):
            try:
                character = bytes(int(byte[1], 16) for byte in run if byte).decode()
                used = length
            except UnicodeDecodeError:
                pass
        found[position : position + used] = [character] + [""] * (used - 1)
        position += used
    return found


async def ensure_tokenizer(database: Database, tokenizer_json: Path) -> int:
    """The id of the vocabulary in a `tokenizer.json`, its texts loaded if they were not."""
    rows = await asyncio.to_thread(read_vocabulary, tokenizer_json)
    return await put_vocabulary(database, rows)


def read_vocabulary(tokenizer_json: Path) -> list[tuple[int, str]]:
    """Token ids and texts, by id."""
    try:
        read = json.loads(tokenizer_json.read_text(encoding="utf-8"))
        vocabulary: dict[str, int] = dict(read["model"]["vocab"])
        vocabulary |= {token["content"]: token["id"] for token in read.get("added_tokens", ())}
    except FileNotFoundError:
        raise NotFound(f"There is no tokenizer at {tokenizer_json}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{tokenizer_json} is no tokenizer.json with a vocabulary: {error!r}.") from error
    return sorted((id_, piece.replace("▁", " ").replace("\0", "<0x00>")) for piece, id_ in vocabulary.items())


async def put_vocabulary(database: Database, rows: Sequence[tuple[int, str]]) -> int:
    """The id of the tokenizer with exactly these tokens."""
    digest = hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
    asked = select(Tokenizer.id).where(Tokenizer.sha256 == digest)
    async with database.session() as session:
        known = await session.scalar(asked)
        if known is not None and await session.scalar(
            select(func.count()).select_from(Token).where(Token.tokenizer_id == known)
        ) == len(rows):
            return known
    async with database.raw() as connection:
        made = await connection.execute(
            "insert into tokenizer (name, sha256, vocabulary) values (%s, %s, %s) "
            "on conflict (sha256) do update set vocabulary = excluded.vocabulary returning id",
            [f"gemma-3-{digest[:8]}", digest, len(rows)],
        )
        row = await made.fetchone()
        assert row is not None
        id_ = int(row[0])
        count = await (await connection.execute("select count(*) from token where tokenizer_id = %s", [id_])).fetchone()
        if count == (0,):
            await copy_rows(connection, Token, ["tokenizer_id", "id", "text"], ((id_, *row) for row in rows))
    return id_


def _utf8_length(first: int) -> int:
    """How many bytes a character has, by its first. A byte that begins no character counts as one."""
    if first < 0xC2 or first > 0xF4:
        return 1
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4
