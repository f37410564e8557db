"""The suite's dashboards: a harvest of all its dictionaries on text that the model wrote, packed to be given away.

{out}/found.json                what was found where, as `gemlens harvest` leaves it, with places below {out}
{out}/findings/{source}/        numbers, labels and examples of every feature
{out}/corpus/                   the passages, with seed and settings of the sampling in their manifest
{out}/label_vectors.npy         float16 [n, 384]: a vector for each text of a label, in the order of the texts
{out}/vocabulary.parquet        the text of every token

python starter/recipe/dashboards.py --suite FOLDER --model FOLDER --sampled sampled.npy --work FOLDER --out FOLDER
"""

import argparse
import json
import os
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet

from app.store.vocabulary import write_vocabulary
from gemmascope.folders import parse_folder
from gemmascope.names import Starter, source_id
from inference.embedding import embed
from inference.harvest.asked import Asked, AskedCorpus, Place, write
from inference.harvest.command import FINDINGS, FOUND, harvest

FEATURES, VECTORS, CORPUS = "features.parquet", "label_vectors.npy", "corpus"
VOCABULARY = "vocabulary.parquet"
PER_BAND = 4
"""Examples of each band: one fewer than usual keeps the suite within 128 MiB."""


def places(suite: Path, model: str) -> dict[str, list[Place]]:
    """Every dictionary by its set, in order of layers."""
    found: dict[str, list[Place]] = {}
    for path in sorted(suite.glob("*/layer_*/params.safetensors")):
        name = Starter(model=model, **vars(parse_folder("/".join(path.parent.parts[-2:]))))
        (layer,) = name.layers
        place = Place(source_id(name), f"dir:{path.parent}", layer)
        found.setdefault(name.kind, []).append(place)
    return {kind: sorted(each, key=lambda place: place.layer) for kind, each in found.items()}


def asked(by_set: dict[str, list[Place]], *, model: str, model_path: Path, work: Path, sampled: Path) -> Asked:
    """One pass over all of them. The corpus is named without its folder, which is of no use to anybody else."""
    beside = [pair for each in by_set.values() for pair in pairwise(each)]
    passage_tokens = int(np.load(sampled, mmap_mode="r", allow_pickle=False).shape[1])
    return Asked(
        model=model,
        home=str(work / "home"),
        sources=tuple(place for each in by_set.values() for place in each),
        corpus=AskedCorpus(place=sampled.name, passage_tokens=passage_tokens),
        after={one.name: other for one, other in beside},
        before={other.name: one for one, other in beside},
        plan={"per_band": PER_BAND},
        model_path=str(model_path),
    )


def pack(folder: Path, corpus: Path, out: Path) -> None:
    """What a finished harvest in `folder` found, as it is given away."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(folder / FINDINGS, out / FINDINGS)
    shutil.copytree(corpus, out / CORPUS)
    texts: set[str] = set()
    for path in out.glob(f"{FINDINGS}/*/{FEATURES}"):
        texts |= set(parquet.read_table(path, columns=["label"])["label"].drop_null().to_pylist())
    np.save(out / VECTORS, embed(sorted(texts)).astype(np.float16))
    told = json.loads((folder / FOUND).read_text(encoding="utf-8"))
    told["corpus"]["folder"] = CORPUS
    write_vocabulary(Path(told["tokenizer"]), out / VOCABULARY)
    told["tokenizer"] = VOCABULARY
    (out / FOUND).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--suite", type=Path, required=True, help="folder of the trained dictionaries")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model's safetensors")
    parser.add_argument("--model-name", default="gemma-3-270m")
    parser.add_argument("--sampled", type=Path, required=True, help="token ids that `gemlens sample` wrote")
    parser.add_argument("--work", type=Path, required=True, help="where the harvest goes on from when stopped")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    sampled, work, out = given.sampled.absolute(), given.work.absolute(), given.out.absolute()
    by_set = places(given.suite.absolute(), given.model_name)
    request = asked(by_set, model=given.model_name, model_path=given.model.absolute(), work=work, sampled=sampled)
    write(work, request)
    os.chdir(sampled.parent)
    told = harvest(work, tell=lambda fraction, sentence: print(f"{fraction:6.1%}  {sentence}", flush=True))
    pack(work, Path(told["corpus"]["folder"]), out)


if __name__ == "__main__":
    main()
