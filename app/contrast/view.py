"""A contrast as its page, its JSON and its tables show it: one record, made from what is kept and what is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import msgspec

from app.contrast.halves import LEAST
from app.contrast.keeping import Working
from app.contrast.known import NOTHING, Note
from app.contrast.question import Contrast
from app.contrast.result import Firing, Found, Measured, Result, Totals, parts
from app.web.prompts import Item, plain
from inference.errors import BadInput

Order = Literal["halves", "p", "ranking"]
"""By the weaker of the two halves; by p-value on all prompts; by the ranking half alone, which is how rows are kept."""
ORDERS: tuple[Order, ...] = get_args(Order)
PAGE = 50
SNIPPET = 220
"""Characters of a prompt that stand beside a feature."""
TEST = "Mann-Whitney U, two-sided, normal approximation corrected for ties and continuity, on all prompts"
CORRECTION = "Benjamini-Hochberg over every feature of every source"


@dataclass(frozen=True, kw_only=True)
class Example:
    """A prompt in which a feature is strong."""

    prompt: int
    """Its number in its set, from 1."""
    value: float
    position: int
    """Of the token at which it is strongest; BOS is 0."""
    snippet: str
    cut: bool


class Row(Measured, frozen=True, kw_only=True):
    """A feature and how well it tells the sets apart, with what is known of it."""

    rank: int
    more_on: Literal["a", "b"]
    density: float | None
    label: str | None
    counted: bool
    examples_a: tuple[Example, ...]
    examples_b: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Which rows: all of it stands in the address."""

    source: str | None = None
    more_on: str | None = None
    significant: bool = False
    order: Order = "halves"
    first: int = 0

    def query(self, **changed: Any) -> dict[str, str | int | None]:
        now = replace(self, **changed)
        return {
            "source": now.source,
            "more_on": now.more_on,
            "significant": 1 if now.significant else None,
            "order": None if now.order == "halves" else now.order,
            "first": now.first or None,
        }


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    checkpoint: str
    """sha256 of the weights."""
    checkpoint_origin: str
    dtype: str
    device: str
    version: str

    @property
    def checkpoint_short(self) -> str:
        return self.checkpoint[:12]


class Outcome(Totals, frozen=True, kw_only=True):
    """What was found."""

    rows: tuple[Row, ...]
    fitting: int
    """Kept features that fit what is shown, whatever page."""
    kept: int
    test: str
    correction: str
    held_out: bool
    least_for_check: int
    """Distinct prompts that each set needs for a held-out half."""
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class ContrastView:
    id: str | None
    """Of the saved view; None where it could not be kept."""
    model: str
    state: str
    """done, or how far its job is: waiting, running, paused, cancelled, failed, lost"""
    fraction: float
    sentence: str
    asked: Mapping[str, Any]
    """The two sets and the choices."""
    shown: Shown
    outcome: Outcome | None

    @property
    def moving(self) -> bool:
        return self.state in ("waiting", "running", "paused")


def parse_shown(fields: Mapping[str, str]) -> Shown:
    more_on = fields.get("more_on", "").strip() or None
    if more_on not in (None, "a", "b"):
        raise BadInput(f"more_on={str(more_on)[:40]!r} is no set; write a or b.")
    written = fields.get("order", "").strip() or "halves"
    order = next((one for one in ORDERS if one == written), None)
    if order is None:
        raise BadInput(f"order={written[:40]!r} is no order of features; write one of {', '.join(ORDERS)}.")
    first = fields.get("first", "").strip() or "0"
    if not (first.isascii() and first.isdigit() and len(first) < 7):
        raise BadInput(f"first={first[:40]!r} is no number of a row; write a whole number from 0 upwards.")
    return Shown(
        source=fields.get("source", "").strip() or None,
        more_on=more_on,
        significant=fields.get("significant", "") not in ("", "0"),
        order=order,
        first=int(first),
    )


def fitting(result: Result, shown: Shown) -> list[tuple[int, Found]]:
    """Kept features that fit, in order, with the rank that each has among all that are kept."""
    return [
        (rank, row)
        for rank, row in enumerate(_ordered(result.rows, shown.order), 1)
        if (shown.source is None or row.source == shown.source)
        and (shown.more_on is None or row.more_on_a == (shown.more_on == "a"))
        and (not shown.significant or row.q <= 0.05)
    ]


def _ordered(rows: Sequence[Found], order: Order) -> Sequence[Found]:
    match order:
        case "halves":
            return sorted(rows, key=lambda row: (-row.weaker, row.p, -row.size))
        case "p":
            return sorted(rows, key=lambda row: (row.p, -row.size))
    return rows


def outcome(
    asked: Contrast,
    result: Result,
    rows: Sequence[tuple[int, Found]],
    notes: Mapping[tuple[str, int], Note],
    *,
    fits: int,
) -> Outcome:
    """`rows` are those of the page (or of the whole table)."""
    return Outcome(
        **parts(result, Totals),
        rows=tuple(_row(rank, found, asked, notes.get((found.source, found.index), NOTHING)) for rank, found in rows),
        fitting=fits,
        kept=len(result.rows),
        test=TEST,
        correction=CORRECTION,
        held_out=result.held_out,
        least_for_check=LEAST,
        provenance=Provenance(**parts(result, Provenance)),
    )


def contrast_view(
    model: str,
    asked: Contrast,
    *,
    id: str | None,
    shown: Shown,
    found: Outcome | None,
    working: Working | None,
) -> ContrastView:
    if found is not None:
        state, fraction, sentence = "done", 1.0, ""
    elif working is not None:
        state, fraction, sentence = working.state, working.fraction, working.sentence
    else:
        state, fraction, sentence = "lost", 0.0, "Nothing computes this contrast any more. Start it again."
    return ContrastView(
        id=id,
        model=model,
        state=state,
        fraction=fraction,
        sentence=sentence,
        asked={**asked.body(), "a": [plain(one) for one in asked.a], "b": [plain(one) for one in asked.b]},
        shown=shown,
        outcome=found,
    )


def _row(rank: int, found: Found, asked: Contrast, note: Note) -> Row:
    return Row(
        **parts(found, Measured),
        rank=rank,
        more_on="a" if found.more_on_a else "b",
        density=note.density,
        label=note.label,
        counted=note.counted,
        examples_a=tuple(_example(one, asked.a) for one in found.examples_a),
        examples_b=tuple(_example(one, asked.b) for one in found.examples_b),
    )


def _example(one: Firing, items: Sequence[Item]) -> Example:
    text = items[one.prompt].shown
    return Example(
        prompt=one.prompt + 1,
        value=one.value,
        position=one.position,
        snippet=text[:SNIPPET],
        cut=len(text) > SNIPPET,
    )
