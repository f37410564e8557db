"""Sentence vectors for a file of texts: `python -m inference.engine.embedding_texts TEXTS.json VECTORS.npy`.

A process of its own, so that whoever asks needs no torch. Progress and result are lines of JSON."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

from inference.engine.supervisor import end_with_supervisor

AT_ONCE = 512


def main(texts: Path, vectors: Path) -> None:
    end_with_supervisor(lambda: os.kill(os.getpid(), signal.SIGKILL))
    from inference.embedding import DIMENSIONS, embed
    from inference.engine.threads import set_threads

    set_threads(0)
    words = json.loads(texts.read_text(encoding="utf-8"))
    found = np.empty((len(words), DIMENSIONS), np.float32)
    for start in range(0, len(words), AT_ONCE):
        stop = min(start + AT_ONCE, len(words))
        found[start:stop] = embed(words[start:stop])
        say(fraction=stop / len(words), sentence=f"Vectors for search by meaning: {stop:,} of {len(words):,} labels.")
    np.save(vectors, found)
    say(result=f"{len(words):,} vectors.")


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
