"""Features of a source as a list: which of them, in which order, from where on. All of it stands in the address.

A page begins behind the last row of the one before, by that row's value and index, not by how many rows were seen:
so nothing is shown twice or left out where many features have the same value, or while a new harvest comes in.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch
from app.store.features import DENSE, NEVER_FIRED
from app.store.sources import SourceRow
from inference.errors import BadInput

Sort = Literal["index", "density", "peak", "mean", "score"]
SORTS: tuple[Sort, ...] = get_args(Sort)
Kind = Literal["", "alive", "dead", "dense"]
KINDS: tuple[Kind, ...] = get_args(Kind)
HAS_EXAMPLES = "exists (select from example where harvest_id = %(harvest)s and example.index = stat.index)"
COUNTED = 10_000
"""Matches are counted up to here; more of them are `more than`."""
LONGEST = 200
NUMBERS = ("density_from", "density_to", "peak_from", "peak_to", "score_from")


@dataclass(frozen=True, kw_only=True)
class Filters:
    q: str = ""
    """Words or a part of the label."""
    kind: Kind = ""
    examples: bool = False
    """Only those with examples."""
    density_from: float | None = None
    """Per cent of tokens."""
    density_to: float | None = None
    peak_from: float | None = None
    peak_to: float | None = None
    score_from: float | None = None
    sort: Sort = "index"
    descending: bool = False
    after: tuple[float, int] | None = None
    """Value and index of the row before the first."""

    @property
    def chosen(self) -> bool:
        """Whether anything is left out."""
        return self != Filters(sort=self.sort, descending=self.descending, after=self.after)

    def query(self) -> dict[str, str]:
        """As in an address, without what goes without saying."""
        numbers = {name: getattr(self, name) for name in NUMBERS}
        return {
            **({"q": self.q} if self.q else {}),
            **({"kind": self.kind} if self.kind else {}),
            **({"examples": "1"} if self.examples else {}),
            **{name: f"{number:g}" for name, number in numbers.items() if number is not None},
            **({"sort": self.sort} if self.sort != "index" else {}),
            **({"order": "desc" if self.descending else "asc"} if self.descending != (self.sort != "index") else {}),
            **({"after": f"{self.after[0]!r},{self.after[1]}"} if self.after else {}),
        }

    def by(self, sort: Sort) -> "Filters":
        """The same features in another order, from the first; asked for twice it turns around."""
        turned = not self.descending if sort == self.sort else sort != "index"
        return replace(self, sort=sort, descending=turned, after=None)


@dataclass(frozen=True, kw_only=True)
class Row:
    index: int
    density: float | None
    """None, like the rest, where nothing is known of how the source fires."""
    peak: float | None
    mean: float | None
    score: float | None
    flags: int
    label: str | None = None
    counted: bool = False

    @property
    def dead(self) -> bool:
        return bool(self.flags & NEVER_FIRED)

    @property
    def dense(self) -> bool:
        return bool(self.flags & DENSE)


def parse(fields: Mapping[str, str]) -> Filters:
    q = fields.get("q", "").strip()
    if len(q) > LONGEST:
        raise BadInput(f"Labels are searched by at most {LONGEST} characters, not {len(q):,}.")
    sort = _one_of(SORTS, fields.get("sort", "") or "index", "order of features")
    numbers = {name: _number(fields.get(name, ""), name) for name in NUMBERS}
    _check_ranges(numbers)
    order = _one_of(("", "asc", "desc"), fields.get("order", ""), "direction")
    return Filters(
        q=q,
        kind=_one_of(KINDS, fields.get("kind", ""), "kind of feature"),
        examples=fields.get("examples", "") not in ("", "0"),
        **numbers,
        sort=sort,
        descending=order == "desc" if order else sort != "index",
        after=_after(fields.get("after", "")),
    )


async def rows(session: AsyncSession, source: SourceRow, filters: Filters, *, count: int) -> list[Row]:
    """The first `count` that fit, without labels."""
    values: dict[str, Any] = {"count": count}
    where = _where(source, filters, values)
    beyond, direction = ("<", "desc") if filters.descending else (">", "asc")
    key = f"coalesce({filters.sort}, -1)"
    order = f"index {direction}" if filters.sort == "index" else f"key {direction}, index"
    if filters.after is not None:
        values["value"], values["after"] = filters.after
        further = f"index {beyond} %(after)s"
        if filters.sort != "index":
            further = f"({key} {beyond} %(value)s::real or ({key} = %(value)s::real and index > %(after)s))"
        where += f" and {further}"
    columns = f"index, density, peak, mean, score, flags, {key} as key"
    chosen = f"select {columns} from {_table(source)} stat where {where} order by {order}"
    if filters.examples:
        # Put in order first: of what is on top only as many are looked for as are shown, and nearly all have examples.
        # The key has a name, by which the planner knows that the order is the same outside.
        chosen = f"select * from ({chosen} offset 0) stat where {HAS_EXAMPLES} order by {order}"
    query = f"{chosen} limit %(count)s"
    return [
        Row(index=index, density=density, peak=peak, mean=mean, score=score, flags=flags)
        for index, density, peak, mean, score, flags, _ in await fetch(session, query, values)
    ]


async def total(session: AsyncSession, source: SourceRow, filters: Filters) -> int:
    """How many fit, up to one more than `COUNTED`."""
    if not filters.chosen:
        return source.width
    values: dict[str, Any] = {"most": COUNTED + 1}
    where = _where(source, filters, values) + (f" and {HAS_EXAMPLES}" if filters.examples else "")
    query = f"select count(*) from (select 1 from {_table(source)} stat where {where} limit %(most)s) found"
    return int((await fetch(session, query, values))[0][0])


def cursor(row: Row, sort: Sort) -> tuple[float, int]:
    value = row.index if sort == "index" else getattr(row, sort)
    return (-1.0 if value is None else float(value)), row.index


def _table(source: SourceRow) -> str:
    if source.harvest is not None:
        return "feature_stat"
    return """(
        select 0 as harvest_id, index, null::real as density, null::real as peak, null::real as mean,
            null::real as score, 0 as flags
        from generate_series(0, %(width)s - 1) as index
    )"""


def _where(source: SourceRow, filters: Filters, values: dict[str, Any]) -> str:
    values |= {"harvest": source.harvest.id if source.harvest else 0, "source": source.id, "width": source.width}
    parts = ["harvest_id = %(harvest)s"]
    if filters.kind == "alive":
        parts.append(f"flags & {NEVER_FIRED} = 0")
    elif filters.kind:
        parts.append(f"flags & {NEVER_FIRED if filters.kind == 'dead' else DENSE} <> 0")
    for name in NUMBERS:
        number = getattr(filters, name)
        if number is not None:
            column, _, side = name.partition("_")
            values[name] = number / 100 if column == "density" else number
            parts.append(f"{column} {'>=' if side == 'from' else '<='} %({name})s::real")
    if filters.q:
        values["q"] = filters.q
        values["like"] = "%" + filters.q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        parts.append(
            "index = any(array(select label.index from label where source_id = %(source)s and status = 'current' and "
            "visibility = 'public' and (words @@ websearch_to_tsquery('english', %(q)s) or text ilike %(like)s)))"
        )
    return " and ".join(parts)


def _one_of(known: Sequence[Any], written: str, what: str) -> Any:
    if written in known:
        return written
    raise BadInput(f"{written[:40]!r} is no {what}; write {', '.join(one for one in known if one)}.")


def _number(written: str, name: str) -> float | None:
    if not written.strip():
        return None
    try:
        number = float(written)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or abs(number) > 1e30:
        raise BadInput(f"{written[:40]!r} is no number for {name}; write one such as 0.5.")
    return number


def _check_ranges(numbers: Mapping[str, float | None]) -> None:
    for name in ("density_from", "density_to"):
        if (share := numbers[name]) is not None and not 0 <= share <= 100:
            raise BadInput(f"{name}={share:g} is no share of tokens; write per cent, from 0 to 100.")
    for what in ("density", "peak"):
        low, high = numbers[f"{what}_from"], numbers[f"{what}_to"]
        if low is not None and high is not None and low > high:
            raise BadInput(f"Nothing lies from {low:g} to {high:g}: {what}_from may be at most {what}_to.")


def _after(written: str) -> tuple[float, int] | None:
    if not written:
        return None
    value, comma, index = written.partition(",")
    number = _number(value, "after")
    if number is None or not comma or not (index.isascii() and index.isdigit() and len(index) <= 9):
        raise BadInput(f"{written[:40]!r} is no place in a list; follow the link to its next page instead.")
    return number, int(index)
