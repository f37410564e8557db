"""What the pages of training say, made from logs."""

import json
import time
from dataclasses import dataclass
from typing import Any

from app.training.curves import Chart, chart
from app.training.log import Dictionary, Row, rows
from app.training.registry import RUN, Known
from inference.errors import NotFound

QUIET_SECONDS = 300.0
QUIET_STEPS = 100
"""A run that has logged nothing for so long, and for what so many steps took of late, counts as stopped."""
CHARTS = (
    ("unexplained variance, without outlying tokens", "fvu_ordinary", 1.5),
    ("unexplained variance", "fvu", 1.5),
    ("features per token (L0)", "l0", None),
    ("share of dead features", "dead_share", None),
)


@dataclass(frozen=True)
class RunRow:
    name: str
    model: str | None
    state: str
    """beginning, running, stopped or done"""
    step: int
    steps: int
    tokens: int
    tokens_per_s: float | None
    seconds: float
    seconds_left: float | None
    dictionaries: int
    silent_seconds: float
    """Since its last line."""


@dataclass(frozen=True)
class RunView:
    run: RunRow
    checkpoint_sha256: str | None
    source: str | None
    planned_tokens: int | None
    kinds: tuple[str, ...]
    """What the lines' colours stand for."""
    only: str | None
    dictionaries: tuple[Dictionary, ...]
    """At the last logged step."""
    points: tuple[Row, ...]
    """What the curves are drawn from."""


def run_row(known: Known, *, found: list[Row] | None = None) -> RunRow:
    logged = rows(known.log, most=3) if found is None else found
    about = about_of(known)
    model = about.get("model")
    try:
        written = known.log.stat().st_mtime
    except OSError:
        written = (known.out / RUN).stat().st_mtime if (known.out / RUN).exists() else time.time()
    silent = max(0.0, time.time() - written)
    model = model if isinstance(model, str) else None
    if not logged:
        return RunRow(known.name, model, "beginning", 0, 0, 0, None, 0.0, None, 0, silent)
    last = logged[-1]
    step_seconds = last.tokens / max(1, last.step) / max(last.tokens_per_s, 1e-6)
    quiet = max(QUIET_SECONDS, QUIET_STEPS * step_seconds)
    state = "done" if last.step >= last.steps else "stopped" if silent > quiet else "running"
    return RunRow(
        name=known.name,
        model=model,
        state=state,
        step=last.step,
        steps=last.steps,
        tokens=last.tokens,
        tokens_per_s=last.tokens_per_s,
        seconds=last.seconds,
        seconds_left=last.seconds_left if state == "running" else None,
        dictionaries=len(last.dictionaries),
        silent_seconds=round(silent, 1),
    )


def run_view(known: Known, *, only: str | None = None) -> RunView:
    found = rows(known.log)
    about = about_of(known)
    last = found[-1].dictionaries if found else ()
    if only is not None and only not in {one.name for one in last}:
        raise NotFound(f"This run trains no dictionary {only[:80]!r}.")
    source, origin = about.get("source"), about.get("origin")
    tokens = about.get("tokens")
    return RunView(
        run=run_row(known, found=found),
        checkpoint_sha256=origin.get("checkpoint_sha256") if isinstance(origin, dict) else None,
        source=source.get("kind") if isinstance(source, dict) else None,
        planned_tokens=tokens if isinstance(tokens, int) else None,
        kinds=tuple(dict.fromkeys(kind_of(one.name) for one in last)),
        only=only,
        dictionaries=last,
        points=tuple(found),
    )


def charts(view: RunView) -> list[Chart]:
    """All dictionaries' lines; where one is chosen, it comes last and so lies on top."""
    names = [one.name for one in view.dictionaries]
    end = float(view.run.tokens)
    made = []
    for title, field, most in CHARTS:
        by_name: dict[str, list[tuple[float, float | None]]] = {name: [] for name in names}
        for row in view.points:
            for one in row.dictionaries:
                if one.name in by_name:
                    by_name[one.name].append((float(row.tokens), getattr(one, field)))
        ordered = sorted(names, key=lambda name: name == view.only)
        series = [(name, view.kinds.index(kind_of(name)), by_name[name]) for name in ordered]
        made.append(chart(title, series, end=end, most=most))
    pace = [(float(row.tokens), row.tokens_per_s) for row in view.points]
    made.append(chart("tokens per second", [("all dictionaries together", 0, pace)], end=end))
    return made


def about_of(known: Known) -> dict[str, Any]:
    """What the run notes of itself; nothing where that cannot be read."""
    try:
        found = json.loads((known.out / RUN).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def kind_of(name: str) -> str:
    """`resid_post`, `transcoder_all`, `clt`: the folder that a dictionary goes to."""
    return name.split("/", 1)[0]


def spoken(seconds: float | None) -> str:
    """1 h 5 min, 12 min, 40 s"""
    if seconds is None:
        return "–"
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
