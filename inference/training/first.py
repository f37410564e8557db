"""A first dictionary, made in a few minutes where none is installed, so that a newcomer sees real features at once.

It is small and knows little text: the descriptions and docstrings of the Python packages installed beside it, which
every installation has. It is no substitute for Gemma Scope 2, and its name says what it is.
"""

import ast
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from inference.training.config import BankConfig, TrainConfig

LAYER_SHARE = 2 / 3
"""How far up the model it reads, where features are most readable."""
WIDTH = 1024
L0 = 32
PASSAGE_TOKENS = 256
TEXT_BYTES = 400_000
SHORTEST_DOCSTRING = 200


def gather_text(folder: Path, *, most_bytes: int = TEXT_BYTES) -> Path:
    """Write documents of installed packages into a folder as plain text files, a package's after another's, the same
    ones every time. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for number, text in enumerate(_interleaved(sorted(_descriptions()), sorted(_docstrings()))):
        if written >= most_bytes:
            break
        (folder / f"{number:04}.txt").write_text(text, encoding="utf-8")
        written += len(text.encode())
    return folder


def first_config(*, out: Path, text: Path, model: str, layers: int, tokens: int, seconds: float) -> TrainConfig:
    """A run of a few minutes on a CPU: one residual SAE, passing over its text several times."""
    return TrainConfig(
        out=out,
        source={"kind": "text", "path": str(text)},
        banks=(
            BankConfig(
                width=WIDTH,
                l0=L0,
                layers=(round(layers * LAYER_SHARE),),
                prefixes=(WIDTH // 4, WIDTH),
                dead_after_tokens=60_000,
            ),
        ),
        tokens=tokens,
        model=model,
        batch_tokens=1024,
        passage_tokens=PASSAGE_TOKENS,
        forward_tokens=2048,
        buffer_bytes=64_000_000,
        held_out_tokens=6144,
        compute_dtype="float32",
        log_every_steps=5,
        checkpoint_every_steps=1_000_000,
        time_limit_s=seconds,
    )


def _descriptions() -> Iterator[str]:
    """What packages say of themselves."""
    for package in distributions():
        _, _, text = (package.read_text("METADATA") or "").partition("\n\n")
        if len(text) > 1000:
            yield text[:8000]


def _docstrings() -> Iterator[str]:
    """The docstrings of packages' top modules, a file's together."""
    for package in distributions():
        top = [file for file in package.files or () if file.suffix == ".py" and len(file.parts) <= 2]
        for file in top[:12]:
            path = Path(str(package.locate_file(file)))
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except (OSError, SyntaxError, ValueError):
                continue
            nodes = (n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef))
            found = [text for node in nodes if (text := ast.get_docstring(node)) and len(text) > SHORTEST_DOCSTRING]
            if found:
                yield "\n\n".join(found)[:8000]


def _interleaved(*groups: list[str]) -> Iterator[str]:
    """One of each in turn, as long as each lasts."""
    for turn in range(max(map(len, groups), default=0)):
        yield from (group[turn] for group in groups if turn < len(group))
