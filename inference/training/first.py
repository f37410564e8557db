"""A first dictionary, made in a few minutes where none is installed, so that a newcomer sees real features at once.

It is small and knows little text: the descriptions and docstrings of the Python packages installed beside it, which
every installation has. It is no substitute for Gemma Scope 2, and its name says what it is.
"""

import ast
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

import numpy as np

from inference.documents import TextTokenizer
from inference.errors import Unavailable
from inference.training.config import BankConfig, TrainConfig
from inference.training.stream import BOS, Passages

LAYER_SHARE = 2 / 3
"""How far up the model it reads, where features are most readable."""
WIDTH = 1024
L0 = 32
PASSAGE_TOKENS = 256
HELD_OUT_PASSAGES = 24
LEAST_PASSAGES = 64
BATCH_TOKENS = 1024
PASSES = 10
"""How often training passes over the text. Reading it is what takes time."""
SHORTEST_DOCSTRING = 200
LONGEST_DOCUMENT = 8000


def installed_texts() -> Iterator[str]:
    """Documents of installed packages, descriptions and docstrings in turn, in the same order every time."""
    packages = sorted(distributions(), key=lambda package: package.name)
    return roundrobin(_descriptions(packages), _docstrings(packages))


def cut_passages(texts: Iterable[str], tokenizer: TextTokenizer, *, most: int) -> Passages:
    """[N, PASSAGE_TOKENS]: the texts one after the other, each passage beginning with BOS."""
    step = PASSAGE_TOKENS - 1
    ids: list[int] = []
    for text in texts:
        ids += tokenizer.encode(text)
        if len(ids) >= most * step:
            break
    count = min(most, len(ids) // step)
    if count < LEAST_PASSAGES:
        raise Unavailable(
            f"The packages installed here hold only {count} passages of text; a first dictionary needs "
            f"{LEAST_PASSAGES}. Install one with gemlens add instead."
        )
    rows = np.array(ids[: count * step], dtype=np.int64).reshape(count, step)
    return np.concatenate([np.full((count, 1), BOS), rows], axis=1)


def first_layer(layers: int) -> int:
    return round(layers * LAYER_SHARE)


def first_config(
    *, out: Path, passages: Path, count: int, model: str, layers: int, seconds: float | None
) -> TrainConfig:
    """A run of a minute or two on a CPU: one residual SAE, passing over its few passages several times."""
    return TrainConfig(
        out=out,
        source={"kind": "tokens", "path": str(passages)},
        banks=(
            BankConfig(
                width=WIDTH,
                l0=L0,
                layers=(first_layer(layers),),
                prefixes=(WIDTH // 4, WIDTH),
                dead_after_tokens=60_000,
            ),
        ),
        tokens=max(1, PASSES * (count - HELD_OUT_PASSAGES) * (PASSAGE_TOKENS - 1) // BATCH_TOKENS) * BATCH_TOKENS,
        model=model,
        batch_tokens=BATCH_TOKENS,
        passage_tokens=PASSAGE_TOKENS,
        forward_tokens=8 * PASSAGE_TOKENS,
        buffer_bytes=64_000_000,
        held_out_tokens=HELD_OUT_PASSAGES * (PASSAGE_TOKENS - 1),
        compute_dtype="float32",
        log_every_steps=10,
        checkpoint_every_steps=50,
        time_limit_s=seconds,
    )


def _descriptions(packages: Sequence[Distribution]) -> Iterator[str]:
    """What packages say of themselves."""
    for package in packages:
        _, _, text = (package.read_text("METADATA") or "").partition("\n\n")
        if len(text) > 1000:
            yield text[:LONGEST_DOCUMENT]


def _docstrings(packages: Sequence[Distribution]) -> Iterator[str]:
    """The docstrings of packages' top modules, a file's together."""
    for package in packages:
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
                yield "\n\n".join(found)[:LONGEST_DOCUMENT]


def roundrobin(*groups: Iterable[str]) -> Iterator[str]:
    """One of each in turn, as long as each lasts."""
    waiting = deque(map(iter, groups))
    while waiting:
        group = waiting.popleft()
        for text in group:
            yield text
            waiting.append(group)
            break
