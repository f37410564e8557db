"""A job as people see it: what it is, what for, how far, and what can be done about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from app.jobs.queries import Row

State = Literal["waiting", "running", "pausing", "paused", "cancelling", "cancelled", "done", "failed"]
KINDS = {
    "harvest": "Examples and statistics",
    "sentence_vectors": "Vectors for search by meaning",
    "first_source": "A first dictionary",
    "starter_dashboards": "Examples of the starter suite",
    "contrast": "Two sets of prompts contrasted",
}
ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class JobView:
    id: int
    kind: str
    about: str
    """What it is for, such as the sources of a harvest."""
    state: State
    fraction: float
    sentence: str
    """How far it is with rate and time left, what came of it, or why it failed."""
    actions: tuple[str, ...]
    """Of pause, run and cancel, those that would change something."""
    queued: datetime | None
    started: datetime | None
    ended: datetime | None
    updated: datetime

    @property
    def moving(self) -> bool:
        """Whether looking again soon may show something else."""
        return self.state not in (*ENDED, "paused")

    @property
    def lines(self) -> list[str]:
        return self.sentence.splitlines() or [""]


@dataclass(frozen=True, kw_only=True)
class Jobs:
    jobs: tuple[JobView, ...]
    older: int | None
    """The page behind this one: jobs before this number."""

    @property
    def moving(self) -> bool:
        return any(job.moving for job in self.jobs)


def as_view(row: Row) -> JobView:
    state = state_of(row.status, row.wanted)
    return JobView(
        id=row.id,
        kind=KINDS.get(row.name, row.name.replace("_", " ").capitalize()),
        about=about(row.arguments),
        state=state,
        fraction=1.0 if state == "done" else row.fraction,
        sentence=(row.failure or "It left no reason.") if state == "failed" else row.sentence,
        actions=actions_of(state),
        queued=row.queued,
        started=row.started,
        ended=row.ended,
        updated=row.updated,
    )


def state_of(status: str, wanted: str) -> State:
    match status, wanted:
        case "succeeded", _:
            return "done"
        case "failed", _:
            return "failed"
        case (("cancelled" | "aborted" | "aborting"), _):
            return "cancelled"
        case _, "cancel":
            return "cancelling"
        case "doing", "pause":
            return "pausing"
        case "todo", "pause":
            return "paused"
        case "doing", _:
            return "running"
    return "waiting"


def actions_of(state: State) -> tuple[str, ...]:
    if state in (*ENDED, "cancelling"):
        return ()
    return ("run", "cancel") if state in ("paused", "pausing") else ("pause", "cancel")


def about(arguments: Mapping[str, Any]) -> str:
    """In words, from whatever a kind of job is given."""
    given = arguments.get("order", arguments)
    if not isinstance(given, dict):
        return ""
    sources = given.get("sources") or ([given["source"]] if "source" in given else [])
    shown = ", ".join(map(str, sources[:4])) + (f" and {len(sources) - 4} more" if len(sources) > 4 else "")
    parts = [shown, f"of {given['model']}" if "model" in given else ""]
    if isinstance(corpus := given.get("corpus"), dict):
        parts.append(f"on {str(corpus.get('place', '')).rpartition('/')[2]}")
    return " ".join(part for part in parts if part)
