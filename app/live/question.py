"""What a live page was asked: parsed from an address or a form, and written back as one canonical address.

Everything that a page shows follows from this record, so an address (or a saved view) brings it back. Buttons send
changes of it beside the whole: `cell` chooses in the map, `pick` a feature of any source, `switch` turns a feature off
and on again, `do` adds and removes turns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from inference.engine.protocol import Prompt
from inference.engine.protocol import Turn as EngineTurn
from inference.errors import BadInput

Sort = Literal["strength", "relative"]
Role = Literal["user", "model", "system"]

ROLES: tuple[Role, ...] = ("user", "model", "system")
MAX_TURNS = 32
MAX_OFF = 16
EVERY_SOURCE = "every"
"""The name that asks for a map over every source, whatever its set."""


class Turn(NamedTuple):
    role: Role
    content: str


@dataclass(frozen=True)
class Feature:
    """A feature of any source, written `9-starter-res-1k/123`."""

    source: str
    index: int

    def __str__(self) -> str:
        return f"{self.source}/{self.index}"


@dataclass(frozen=True, kw_only=True)
class Question:
    text: str = ""
    turns: tuple[Turn, ...] = ()
    """A chat; then there is no text."""
    source: str | None = None
    feature: int | None = None
    """The feature to draw; without one, the strongest at each token."""
    token: int | None = None
    """The token to tell more about, BOS being 0."""
    to: int | None = None
    """With it, all tokens from `token` to this one are told about together."""
    across: bool = False
    """Tell about the features of every source in the map, not of one."""
    set: str | None = None
    """Over which sources the map goes: a set, or every source; without one the page chooses."""
    sort: Sort = "strength"
    dense: float | None = None
    """Hide features that fire on more than this per cent of tokens."""
    off: tuple[Feature, ...] = ()
    """Features that are switched off."""
    against: str = ""
    """Another text to compare with."""
    first: int | None = None
    """The first token of the map's window."""

    @property
    def asked(self) -> bool:
        """Whether there is anything to read."""
        return bool(self.text or any(turn.content for turn in self.turns))

    @property
    def prompt(self) -> Prompt:
        if not self.turns:
            return Prompt(text=self.text)
        said = [turn for turn in self.turns if turn.content]
        turns = tuple(EngineTurn(role=turn.role, content=turn.content) for turn in said)
        return Prompt(turns=turns, generation_prompt=bool(said) and said[-1].role == "user")

    @property
    def title(self) -> str:
        return self.text or " ".join(turn.content for turn in self.turns)

    @property
    def query_bytes(self) -> int:
        """How much of an address the texts would take up, before they are quoted."""
        parts = (self.text, self.against, *(turn.content for turn in self.turns))
        return sum(len(part.encode("utf-8", "replace")) for part in parts)

    def query(self) -> dict[str, str | int | None]:
        """The parameters of its address."""
        return {**self.texts(), **self.choices()}

    def texts(self) -> dict[str, str | int | None]:
        """What may be long: kept in a saved view where it is."""
        found: dict[str, str | int | None] = {"text": self.text}
        for number, turn in enumerate(self.turns):
            found |= {f"role{number}": turn.role, f"turn{number}": turn.content}
        return {**found, "against": self.against}

    def choices(self) -> dict[str, str | int | None]:
        """What is chosen to be shown of them."""
        return {
            "source": self.source,
            "feature": self.feature,
            "token": self.token,
            "to": self.to,
            "across": 1 if self.across else None,
            "set": self.set,
            "sort": None if self.sort == "strength" else self.sort,
            "dense": None if self.dense is None else f"{self.dense:g}",
            "off": ",".join(map(str, self.off)),
            "first": self.first,
        }

    def chosen(self, position: int) -> bool:
        """Whether a token is (among) what is told about."""
        if self.token is None:
            return False
        return self.token <= position <= (self.token if self.to is None else self.to)


def parse(*given: Mapping[str, str]) -> Question:
    """Later mappings win (the form over the address). Browsers send line breaks of forms as CRLF: they become LF."""
    fields = {name: value for mapping in given for name, value in mapping.items()}
    turns = _turns(fields)
    text = "" if turns else _text(fields, "text")
    if fields.get("do") == "text" and not text:
        text = _text(fields, "turn0")
    question = Question(
        text=text,
        turns=turns,
        source=fields.get("source", "").strip() or None,
        feature=_number(fields.get("feature", ""), what="feature"),
        token=_number(fields.get("token", ""), what="token"),
        to=_number(fields.get("to", ""), what="token"),
        across=fields.get("across", "") not in ("", "0"),
        set=fields.get("set", "").strip() or None,
        sort=_sort(fields.get("sort", "")),
        dense=_per_cent(fields.get("dense", "")),
        off=tuple(dict.fromkeys(_feature(part) for part in fields.get("off", "").split(",") if part.strip())),
        against=_text(fields, "against"),
        first=_number(fields.get("first", ""), what="token"),
    )
    return _straight(_changed(question, fields))


def _changed(question: Question, fields: Mapping[str, str]) -> Question:
    """With what a button says."""
    if cell := fields.get("cell"):
        source, _, token = cell.rpartition("@")
        question = replace(
            question,
            source=source or question.source,
            feature=question.feature if not source or source == question.source else None,
            across=not source,
            token=_number(token, what="token"),
            to=None,
        )
    if pick := fields.get("pick"):
        feature = _feature(pick)
        question = replace(question, source=feature.source, feature=feature.index)
    if switch := fields.get("switch"):
        feature = _feature(switch)
        rest = tuple(one for one in question.off if one != feature)
        question = replace(question, off=rest if len(rest) < len(question.off) else (*question.off, feature))
    if len(question.off) > MAX_OFF:
        raise BadInput(f"{len(question.off)} features are switched off; {MAX_OFF} at once is the most.")
    return question


def _straight(question: Question) -> Question:
    """A span is written from its first token to its last; one of a single token is that token."""
    if question.token is None or question.to is None or question.to == question.token:
        return replace(question, to=None)
    first, last = sorted((question.token, question.to))
    return replace(question, token=first, to=last)


def _turns(fields: Mapping[str, str]) -> tuple[Turn, ...]:
    numbers = sorted(
        int(name[4:]) for name in fields if name.startswith("turn") and name[4:].isdecimal() and len(name) < 8
    )
    turns = [Turn(_role(fields.get(f"role{number}", "user")), _text(fields, f"turn{number}")) for number in numbers]
    do = fields.get("do", "")
    if do == "chat" and not turns:
        turns = [Turn("user", _text(fields, "text"))]
    elif do == "add":
        turns.append(Turn("model" if turns and turns[-1].role == "user" else "user", ""))
    elif do.startswith("drop") and do[4:].isdecimal():
        turns = [turn for number, turn in zip(numbers, turns, strict=True) if number != int(do[4:])]
    elif do == "text":
        turns = []
    if len(turns) > MAX_TURNS:
        raise BadInput(f"A chat has at most {MAX_TURNS} turns here, not {len(turns)}.")
    return tuple(turns)


def _role(written: str) -> Role:
    for role in ROLES:
        if role == written:
            return role
    raise BadInput(f"{written[:40]!r} is no role of a turn; write user, model or system.")


def _text(fields: Mapping[str, str], name: str) -> str:
    text = fields.get(name, "").replace("\r\n", "\n")
    if "\x00" in text:
        raise BadInput("The text holds a NUL character, which is no text. Leave it out.")
    return text


def _sort(written: str) -> Sort:
    if written in ("", "strength"):
        return "strength"
    if written == "relative":
        return "relative"
    raise BadInput(f"{written[:40]!r} is no order of features; write strength or relative.")


def _feature(written: str) -> Feature:
    source, slash, index = written.strip().rpartition("/")
    number = _number(index, what="feature")
    if not slash or not source or number is None:
        raise BadInput(f"{written[:40]!r} is no feature; write it as 9-starter-res-1k/123.")
    return Feature(source, number)


def _per_cent(written: str) -> float | None:
    written = written.strip()
    if not written:
        return None
    try:
        value = float(written)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise BadInput(f"{written[:40]!r} is no share of tokens; write per cent, from 0 to 100.")
    return None if value == 100 else value


def _number(written: str, *, what: str) -> int | None:
    written = written.strip()
    if not written:
        return None
    if not (written.isascii() and written.isdigit() and len(written) <= 9):
        raise BadInput(f"{written[:40]!r} is no number of a {what}; write a whole number from 0 upwards.")
    return int(written)
