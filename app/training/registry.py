"""Which training runs a home knows: those that lie below it, and those that were started for it elsewhere.

A run elsewhere is known by a small file in `HOME/training` that names its folder; `gemlens train` writes it. Nothing
of a run is copied, so a folder that is gone takes its run off the list.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from inference.errors import NotFound

NOTES = "training"
BELOW = "trained"
LOG = Path("run") / "log.jsonl"
RUN = Path("run") / "run.json"


@dataclass(frozen=True)
class Known:
    name: str
    """As in its address."""
    out: Path

    @property
    def log(self) -> Path:
        return self.out / LOG


def note(home: Path, out: Path) -> str:
    """Makes a run known to a home; the name that it has there."""
    out, home = out.expanduser().absolute(), home.expanduser()
    below = home.absolute() / BELOW
    if out.is_relative_to(below):
        return _name(out.relative_to(below))
    name = _name(Path(out.name))
    path = home / NOTES / f"{name}.json"
    if path.exists() and _out(path) not in (None, out):
        name = f"{name}-{hashlib.sha256(str(out).encode()).hexdigest()[:8]}"
        path = home / NOTES / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"out": str(out)}) + "\n")
    partial.replace(path)
    return name


def runs(home: Path) -> list[Known]:
    """Those that have begun, the latest first."""
    home = home.expanduser()
    below = home / BELOW
    folders = [noted.parent.parent for noted in below.glob(f"**/{RUN}")]
    found = {_name(out.relative_to(below)): out for out in folders}
    for path in sorted((home / NOTES).glob("*.json")):
        out = _out(path)
        if out is not None and (out / RUN).is_file():
            found.setdefault(path.stem, out)
    known = [Known(name, out) for name, out in found.items()]
    return sorted(known, key=lambda run: (-_written(run), run.name))


def find(home: Path, name: str) -> Known:
    known = runs(home)
    for run in known:
        if run.name == name:
            return run
    names = ", ".join(run.name for run in known[:8])
    raise NotFound(f"No training run {name[:80]!r} is known here. There are: {names or 'none yet'}.")


def _written(run: Known) -> float:
    for path in (run.log, run.out / RUN):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _out(path: Path) -> Path | None:
    try:
        return Path(json.loads(path.read_text())["out"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _name(path: Path) -> str:
    return re.sub(r"[^\w.-]+", "-", "-".join(path.parts)).strip("-.") or "run"
