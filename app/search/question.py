"""What was searched for: parsed from an address, and written back as one canonical address.

The box takes anything. How it reads a query is decided here, by rules that a person can predict: more than a few words,
or words in quotation marks, or `text:` before them, are a text to read; `token:` means tokens alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from starlette.datastructures import ImmutableMultiDict

from app.db.tables.labels import MARKS
from inference.errors import BadInput

Way = Literal["meaning", "words", "token", "prompt", "id"]
WAYS: tuple[Way, ...] = ("meaning", "words", "token", "prompt", "id")

PAGE = 20
"""Hits on a page."""
PROMPT_WORDS = 4
"""From this many words on, a query is also read as a text."""
TOKEN_WORDS = 3
"""Up to this many words, each is also looked up as a token."""
MEANT_CHARACTERS = 2
"""A single character has no meaning that a sentence vector could hold."""
METHODS = {"human": "people", "model": "language models", "counted": "counting tokens"}
"""Families of labels; the name of one method is taken too."""

_AS_LABELS = str.maketrans(MARKS, '"' * 4 + " " * (len(MARKS) - 4))
"""Marks are blanks in a query too, as in labels; typographic quotation marks still hold a phrase together."""
_PREFIX = re.compile(r"\s*(text|prompt|token)\s*:(.*)", re.IGNORECASE | re.DOTALL)
_EMPTY = {
    "token": "Write a token or several behind “token:”, as in token: Monday Tuesday.",
    "text": "Write the text behind it, as in text: The doctor asked the nurse to.",
}
_QUOTED = re.compile(r'\s*"([^"]+)"\s*|\s*“([^”]+)”\s*', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Question:
    q: str = ""
    by: tuple[Way, ...] = WAYS
    model: str | None = None
    set: str | None = None
    source: str | None = None
    layer: int | None = None
    density: float | None = None
    """Only features that fire on less than this per cent of tokens."""
    method: str | None = None
    """Only features with a label of this family or method."""
    dead: bool = False
    """Features that never fired, too."""
    page: int = 1

    def query(self) -> dict[str, str | int | None]:
        """The parameters of its address."""
        return {
            "q": self.q,
            "by": None if self.by == WAYS else ",".join(self.by),
            "model": self.model,
            "set": self.set,
            "source": self.source,
            "layer": self.layer,
            "density": None if self.density is None else f"{self.density:g}",
            "method": self.method,
            "dead": 1 if self.dead else None,
            "page": None if self.page == 1 else self.page,
        }

    @property
    def filtered(self) -> bool:
        return self.narrow or self.density is not None or self.method is not None

    @property
    def narrow(self) -> bool:
        """Whether only some sources are searched."""
        return any(part is not None for part in (self.model, self.set, self.source, self.layer))

    def without_filters(self) -> "Question":
        return Question(q=self.q, by=self.by)

    def at(self, page: int) -> "Question":
        return replace(self, page=page)

    def by_only(self, way: Way) -> "Question":
        return replace(self, by=(way,), page=1)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a query is understood: what each way is asked, and why some are not."""

    words: str
    """For meaning and full text."""
    text: str | None
    """To run through the model; None where the query is no text."""
    tokens: tuple[str, ...]
    """Words to find among the vocabulary's tokens."""
    only: Way | None = None
    """A prefix names one way."""


def read(q: str) -> Reading:
    """`text:` and `token:` ask for one way alone; what is quoted is a text, and also words that follow each other."""
    if match := _PREFIX.fullmatch(q):
        rest = match[2].removeprefix(" ")
        if match[1].lower() == "token":
            return Reading(words="", text=None, tokens=_pieces(rest, most=10), only="token")
        quoted = _QUOTED.fullmatch(rest)
        return Reading(words="", text=(quoted[1] or quoted[2]) if quoted else rest, tokens=(), only="prompt")
    if match := _QUOTED.fullmatch(q):
        text = match[1] or match[2]
        return Reading(words=f'"{text}"', text=text, tokens=_pieces(text, most=TOKEN_WORDS))
    stripped = q.strip()
    text_or_none = stripped if len(stripped.split()) >= PROMPT_WORDS else None
    return Reading(words=stripped.translate(_AS_LABELS), text=text_or_none, tokens=_pieces(stripped, most=TOKEN_WORDS))


def _pieces(text: str, *, most: int) -> tuple[str, ...]:
    """The words of a short query; nothing of a long one, which is a text and no list of tokens. What is nothing but
    blanks is a token itself."""
    words = tuple(dict.fromkeys(text.split())) or ((text,) if text else ())
    return words if len(words) <= most else ()


def parse(given: ImmutableMultiDict[str, str], *, longest: int) -> Question:
    q = given.get("q", "").replace("\r\n", "\n")
    if "\x00" in q:
        raise BadInput("A search cannot hold a NUL character. Leave it out.")
    if len(q) > longest:
        raise TooLong(len(q), longest)
    if empty := _without_rest(q):
        raise BadInput(empty)
    return Question(
        q=q,
        by=_ways(given.getlist("by")),
        model=_word(given, "model"),
        set=_word(given, "set"),
        source=_word(given, "source"),
        layer=_whole(given.get("layer", ""), what="layer"),
        density=_per_cent(given.get("density", "")),
        method=_word(given, "method"),
        dead=given.get("dead", "") not in ("", "0"),
        page=_page(given.get("page", "")),
    )


def _without_rest(q: str) -> str:
    """What to write where a prefix stands alone. Blanks alone are a token, but no text."""
    match = _PREFIX.fullmatch(q)
    if match is None:
        return ""
    if match[1].lower() == "token":
        return "" if match[2].removeprefix(" ") else _EMPTY["token"]
    return "" if match[2].strip() else _EMPTY["text"]


class TooLong(BadInput):
    """A query over the limit: the page offers to read it as a text instead."""

    def __init__(self, length: int, longest: int) -> None:
        super().__init__(
            f"A search has at most {longest:,} characters, this one has {length:,}. To see what fires on a long text, "
            "paste it on the model's live page."
        )


def _ways(written: Sequence[str]) -> tuple[Way, ...]:
    names = {name for part in written for name in re.split(r"[,\s]+", part) if name}
    if unknown := sorted(names.difference(WAYS)):
        raise BadInput(f"{unknown[0][:40]!r} is no way to search. There are {', '.join(WAYS)}.")
    return tuple(way for way in WAYS if way in names) or WAYS


def _word(given: ImmutableMultiDict[str, str], name: str) -> str | None:
    return given.get(name, "").strip()[:200] or None


def _whole(written: str, *, what: str) -> int | None:
    written = written.strip()
    if not written:
        return None
    if not (written.isascii() and written.isdigit() and len(written) <= 3):
        raise BadInput(f"{written[:40]!r} is no {what}; write a whole number from 0 upwards.")
    return int(written)


def _per_cent(written: str) -> float | None:
    written = written.strip().removesuffix("%").strip()
    if not written:
        return None
    try:
        value = float(written)
    except ValueError:
        value = -1.0
    if not 0 < value <= 100:
        raise BadInput(f"{written[:40]!r} is no share of tokens; write per cent, more than 0 and at most 100.")
    return value


def _page(written: str) -> int:
    written = written.strip()
    if not written:
        return 1
    if not (written.isascii() and written.isdigit() and len(written) <= 9 and int(written) > 0):
        raise BadInput(f"{written[:40]!r} is no page; pages are counted from 1.")
    return int(written)
