"""A throw-away environment for each peer, so that what it needs never meets what Gemlens needs.

It lies in the system's temporary folder and is used again as long as the same things are asked of it.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
INSIDE = Path(__file__).parent / "inside"


def python_of(name: str, requirements: Sequence[str], *, without: Sequence[str] = (), constrained: bool = True) -> Path:
    """The interpreter of an environment that has `requirements`, held to the versions of constraints.txt unless they
    ask for others, and has not what is named in `without`."""
    folder = Path(tempfile.gettempdir()) / "gemlens-peers" / name
    asked = {
        "requirements": list(requirements),
        "python": sys.version,
        **({"without": list(without)} if without else {}),
    }
    stamp = folder / "asked.json"
    python = folder / "bin" / "python"
    if not stamp.exists() or json.loads(stamp.read_text()) != asked:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        held = ["--constraint", str(ROOT / "constraints.txt")] if constrained else []
        subprocess.run([*pip, "install", *held, *requirements], check=True)
        if without:
            subprocess.run([*pip, "uninstall", "--yes", *without], check=True)
        stamp.write_text(json.dumps(asked))
    return python


def run_inside(python: Path, script: str, **given: object) -> dict[str, object]:
    """Runs a script of `inside/` there, with one JSON object as its argument; its last line is its answer."""
    done = subprocess.run(
        [str(python), str(INSIDE / script), json.dumps(given, default=str)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer
