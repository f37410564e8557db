"""Turn gathered text and text sampled from the model into one table of token ids, packed for training.

Every row is one sequence: BOS, then tokens that run on from document to document of one package, cut at the row's
length. Rows are shuffled by the seed. Held-out rows are split off by a hash before anything is repeated, so that no
held-out text is trained on.

    python starter/recipe/tokens.py --model FOLDER --text train.parquet --out tokens.npy
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from tokenizers import Tokenizer

BOS = 2


def encode(job: tuple[str, list[str], int]) -> np.ndarray:
    """Rows [n, length] of one batch of texts."""
    tokenizer_file, texts, length = job
    tokenizer = Tokenizer.from_file(tokenizer_file)
    rows: list[list[int]] = []
    for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
        ids = encoding.ids
        for start in range(0, len(ids), length - 1):
            piece = ids[start : start + length - 1]
            if len(piece) == length - 1:
                rows.append([BOS, *piece])
    return np.asarray(rows, dtype=np.uint32).reshape(-1, length)


def pack(
    *, tokenizer_file: Path, text: Path, length: int, workers: int, share: float = 1.0, join: int = 4
) -> np.ndarray:
    """Rows of a Parquet file of (kind, package, text), or of every so manieth document where a share is enough.
    Neighbouring documents of a package are joined, `join` at a time, so that little is cut off at their ends."""
    whole = pq.read_table(text, columns=["package", "text"]).sort_by("package")
    table = whole.take(np.arange(0, len(whole), 1 / share).astype(np.int64)).to_pydict()
    joined = ["\n\n".join(table["text"][i : i + join]) for i in range(0, len(table["text"]), join)]
    jobs = [(str(tokenizer_file), joined[i : i + 64], length) for i in range(0, len(joined), 64)]
    with ProcessPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(encode, jobs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder with tokenizer.json")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--sampled", type=Path, nargs="*", default=[], help=".npy files of sampled rows")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--share", type=float, default=1.0, help="of the documents, taken evenly over all packages")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = pack(
        tokenizer_file=options.model / "tokenizer.json",
        text=options.text,
        length=options.length,
        workers=options.workers,
        share=options.share,
    )
    print(f"{len(rows)} rows of gathered text", flush=True)
    for path in options.sampled:
        sampled = np.load(path).astype(np.uint32)
        rows = np.concatenate([rows, sampled.reshape(-1, options.length)])
        print(f"{len(sampled)} rows from {path.name}", flush=True)
    np.random.default_rng(options.seed).shuffle(rows)
    np.save(options.out, rows)
    print(f"{rows.size} tokens in {len(rows)} rows of {options.length}", flush=True)


if __name__ == "__main__":
    main()
