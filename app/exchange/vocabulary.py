"""Between token strings, which other formats have, and token ids, which texts are kept as.

A string that is a token becomes that token; of two with the same text, the one of lower id. A string that is none (of
another tokenizer, or half a character) is written with the tokens it can be written with: the longest that fit, from
the left, and bytes for the rest. So its text is kept, the same with and without an engine, and it is counted, because
the model would not have read it like that.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.tables import Token

LONGEST_TOKEN = 64


class Vocabulary:
    def __init__(self, tokenizer_id: int, texts: dict[str, int]) -> None:
        self.tokenizer_id = tokenizer_id
        self._ids = texts
        self._unknown = texts.get("<unk>", 0)
        self._split: dict[str, tuple[int, ...]] = {}
        self.split = 0
        """How many strings were no tokens."""

    def one(self, string: str) -> int | None:
        """The token that a string is."""
        found = self._ids.get(string)
        return self._ids.get(cleaned(string)) if found is None else found

    def ids(self, strings: Sequence[str]) -> tuple[list[int], list[int] | None]:
        """Token ids, and where each string begins in them; None where every string is one token."""
        known = self._ids
        try:
            return [known[string] for string in strings], None
        except KeyError:
            pass
        ids: list[int] = []
        starts: list[int] = []
        whole = True
        for string in strings:
            one = self.one(string)
            pieces = (one,) if one is not None else self._pieces(string)
            whole &= len(pieces) == 1
            starts.append(min(len(ids), len(ids) + len(pieces) - 1))
            ids += pieces
        # What stands for nothing at the very beginning belongs to the first token.
        return ids, None if whole else [max(0, start) for start in starts]

    def _pieces(self, string: str) -> tuple[int, ...]:
        self.split += 1
        if (known := self._split.get(string)) is not None:
            return known
        text, found, place = cleaned(string), [], 0
        while place < len(text):
            for end in range(min(len(text), place + LONGEST_TOKEN), place, -1):
                if (one := self._ids.get(text[place:end])) is not None:
                    found.append(one)
                    place = end
                    break
            else:
                data = text[place].encode(errors="replace")
                found += [self._ids.get(f"<0x{byte:02X}>", self._unknown) for byte in data]
                place += 1
        if len(self._split) < 100_000:
            self._split[string] = tuple(found)
        return tuple(found)


def cleaned(string: str) -> str:
    """As a vocabulary's table has it: a space for the mark that stands for one, and for NUL, which no text keeps."""
    return string.replace("▁", " ").replace("\0", " ")


async def read(session: AsyncSession, tokenizer_id: int) -> Vocabulary:
    asked = select(Token.text, Token.id).where(Token.tokenizer_id == tokenizer_id).order_by(Token.id.desc())
    return Vocabulary(tokenizer_id, {str(row.text): int(row.id) for row in await session.execute(asked)})
