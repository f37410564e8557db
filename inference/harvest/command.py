"""One harvest from request to findings, in one folder: corpus, shards, merged counts, what is known of each feature.

Every step leaves a folder that appears whole, and passes over what it finds there, so whoever was stopped, killed or
short of disk goes on by being called again. What the steps find does not depend on how often that happened.

    {folder}/request.json       what is asked (`asked`)
    {folder}/shards/{a}-{b}/    batches a to b, read with the model (`shard`)
    {folder}/merged/            all of them together (`merge`)
    {folder}/findings/{source}/ ready to be stored (`findings`)
    {folder}/found.json         said last: what was found where
"""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import BadInput, GemlensError, NotFound, Unavailable
from inference.gemma.tokens import Tokenizer
from inference.harvest.asked import Asked, read
from inference.harvest.corpus import Corpus
from inference.harvest.findings import Beside, comparable, write_findings
from inference.harvest.folder import Damaged, read_manifest, sweep, verified
from inference.harvest.gathering import gathered
from inference.harvest.merge import merge_shards
from inference.harvest.plan import Plan, plan_for
from inference.harvest.shard import config_of, run_shard
from inference.harvest.subject import Subject, checkpoint_of, open_subject
from inference.harvest.telling import Rate, Tell, part
from inference.harvest.turns import Turn

SHARDS, MERGED, FINDINGS, FOUND = "shards", "merged", "findings", "found.json"

TRIES = 3
"""How often shards that turn out damaged are made again before that is given up."""


@dataclass(frozen=True)
class Shares:
    """Of the whole work, where each part ends."""

    gathered: float = 0.02
    read: float = 0.75
    merged: float = 0.8


def harvest(folder: Path, *, tell: Tell, turn: Turn = nullcontext) -> dict[str, Any]:
    """Does what is asked for in a folder, as far as it is not done. Returns what `found.json` says."""
    if (done := found(folder)) is not None:
        return done
    try:
        return _harvest(folder, read(folder), tell, turn)
    except OSError as error:
        if error.errno in (28, 122):  # no space left; over quota
            raise Unavailable(
                f"The disk is full. Make room where {folder} is and start the same harvest again; it goes on from here."
            ) from error
        raise


def found(folder: Path) -> dict[str, Any] | None:
    """What a finished harvest found; None where it is not finished or something was damaged since."""
    try:
        told: dict[str, Any] = json.loads((folder / FOUND).read_text(encoding="utf-8"))
        for name in told["sources"]:
            verified(folder / FINDINGS / name)
    except (OSError, ValueError, KeyError, GemlensError):
        return None
    return told


def _harvest(folder: Path, asked: Asked, tell: Tell, turn: Turn) -> dict[str, Any]:
    sweep(folder)
    tell(0.0, "Opening the model.")
    checkpoint = checkpoint_of(asked, part(tell, 0.0, 0.005))
    tokenizer_json = checkpoint.folder / "tokenizer.json"
    tell(0.005, "Cutting the corpus into passages.")
    corpus = gathered(
        asked.corpus,
        home=Path(asked.home),
        tokenizer=Tokenizer.from_folder(checkpoint.folder),
        tokenizer_json=tokenizer_json,
        offline=asked.offline,
    )
    shares = Shares()
    plan = plan_for(corpus.tokens, **asked.plan)
    subject = open_subject(asked, tell=part(tell, 0.005, shares.gathered))
    config = config_of(subject.model, subject.sources, corpus, plan)
    shards = plan.shards(corpus.passages, shard_passages=asked.shard_passages)
    merged = folder / MERGED
    for tried in range(1, TRIES + 1):
        if _stands(merged, config):
            break
        missing = [batches for batches in shards if not _stands(shard_folder(folder, batches), config)]
        reading = part(tell, shares.gathered, shares.read)
        read_missing(folder, asked, subject, corpus, plan, missing, tell=reading, turn=turn)
        try:
            _merge(folder, shards, merged, part(tell, shares.read, shares.merged))
        except Damaged:
            if tried == TRIES:
                raise
    for source in subject.sources.values():
        source.dictionary.drop("encoder", source.layer)
    width = sum(source.dictionary.spec.width for source in subject.sources.values())
    start = shares.merged
    for name, source in subject.sources.items():
        stop = start + (1 - shares.merged) * source.dictionary.spec.width / width
        into = folder / FINDINGS / name
        if not _stands(into, config):
            _describe(subject, asked, name, merged, into, part(tell, start, stop), turn)
        start = stop
    told = {
        "config": config,
        "sources": {name: str(Path(FINDINGS) / name) for name in subject.sources},
        "corpus": {
            "folder": str(corpus.folder),
            "sha256": corpus.sha256,
            "passages": corpus.passages,
            "tokens": corpus.tokens,
            "longest": corpus.longest,
            "about": corpus.facts["about"],
        },
        "checkpoint": {"sha256": checkpoint.sha256, "origin": checkpoint.origin},
        "tokenizer": str(tokenizer_json),
        "tokens": read_manifest(merged)["tokens"],
    }
    partial_file = folder / f".{FOUND}.partial"
    partial_file.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial_file.replace(folder / FOUND)
    shutil.rmtree(folder / SHARDS, ignore_errors=True)
    shutil.rmtree(merged, ignore_errors=True)
    return told


def shard_folder(folder: Path, batches: range) -> Path:
    return folder / SHARDS / f"{batches.start:08d}-{batches.stop:08d}"


def read_missing(
    folder: Path,
    asked: Asked,
    subject: Subject,
    corpus: Corpus,
    plan: Plan,
    missing: list[range],
    *,
    tell: Tell,
    turn: Turn,
) -> None:
    """Makes the shards that are not there, here or shared out."""
    sweep(folder / SHARDS)
    batches = sum(len(each) for each in missing)
    total = plan.batches(corpus.passages)
    each_tokens = corpus.tokens / total
    rate = Rate(corpus.tokens)
    rate.at(round((total - batches) * each_tokens))
    done = float(total - batches)

    def told(more: float) -> None:
        """`more`: batches."""
        nonlocal done
        done += more
        tell(done / total, rate.sentence("Reading the corpus", round(done * each_tokens), "tokens"))

    if not missing:
        return
    told(0)
    if asked.engine == "ray":
        from inference.harvest.cluster import read_on_cluster

        read_on_cluster(folder, asked, missing, told=lambda each: told(len(each)))
    elif asked.workers > 1:
        from inference.harvest.processes import read_by_processes

        read_by_processes(folder, asked, missing, told=lambda each: told(len(each)))
    else:
        for each in missing:
            make_shard(subject, corpus, plan, each, folder=folder, force=asked.force, told=told, turn=turn)


def make_shard(
    subject: Subject,
    corpus: Corpus,
    plan: Plan,
    batches: range,
    *,
    folder: Path,
    force: bool,
    told: Callable[[float], None] = lambda batches: None,
    turn: Turn = nullcontext,
) -> None:
    run_shard(
        subject.model,
        subject.sources,
        corpus,
        batches,
        plan=plan,
        folder=shard_folder(folder, batches),
        progress=lambda share: told(1),
        any_l0=force,
        turn=turn,
    )


def _merge(folder: Path, shards: list[range], into: Path, tell: Tell) -> None:
    doing = "Putting the parts together."
    tell(0.0, doing)
    folders = [shard_folder(folder, batches) for batches in shards]
    merge_shards(folders, into, progress=lambda share: tell(share, doing))


def _describe(subject: Subject, asked: Asked, name: str, merged: Path, into: Path, tell: Tell, turn: Turn) -> None:
    source = subject.sources[name]
    beside = Beside(*(_beside(subject, side.get(name), source) for side in (asked.before, asked.after)))
    held = [other for other in (source, *beside) if other is not None]
    device = subject.model.device
    if device.type != "cpu":
        for other in held:
            other.dictionary.to_device("decoder", device, other.layer)
    try:
        write_findings(subject.model, name, source, beside=beside, merged=merged, folder=into, tell=tell, turn=turn)
    finally:
        for other in held:
            other.dictionary.drop("decoder", other.layer)


def _beside(subject: Subject, place: Any, source: Any) -> Any:
    """A neighbour whose dictionary is gone is no reason to fail."""
    if place is None:
        return None
    try:
        return comparable(source, subject.opened.source(place))
    except (BadInput, NotFound, Unavailable):
        return None


def _stands(folder: Path, config: dict[str, Any]) -> bool:
    """Whether a part of the work is there, undamaged and of this harvest; else it is out of the way."""
    try:
        if verified(folder)["config"] == config:
            return True
    except NotFound:
        if not folder.exists():
            return False
    except (Damaged, BadInput):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return False
