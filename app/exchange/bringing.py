"""One source on its way in: a plan in words before, parts in transactions, and what was done in words afterwards.

What is shown changes at the very end, by one UPDATE (`app/store/loading.py`). Done again after a stop it goes on, done
again after its end it changes nothing: texts are found by digest, parts by checksum, labels by what they say.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import text

from app.db.database import Database
from app.db.packing import Band
from app.exchange import passages, queries, vocabulary
from app.exchange.given import GivenBand, GivenFeature, GivenLabel, Look, Reader
from app.store import labels, sources
from app.store.loading import FeatureRow, Loading, StoredBand, delete_harvest
from app.store.sources import SourceRow
from gemmascope.errors import UnknownName
from gemmascope.models import MODELS, find_model
from gemmascope.names import Starter, parse_source_id
from gemmascope.published import layer_width
from inference.errors import BadInput, Unavailable

LABELS_AT_ONCE = 4_096
NAME = re.compile(r"\d{1,3}-[\w.-]{1,200}", re.ASCII)
Tell = Callable[[str], None]
Fill = Callable[[list[GivenFeature]], Awaitable[tuple[list[GivenFeature], int]]]
"""Adds to a part what its format does not have, and says for how many examples it could not."""
UNFILLED = "{n:,} examples kept the values of the file alone, because the engine finds nothing there"


def silent(_: str) -> None:
    pass


@dataclass(kw_only=True)
class Plan:
    """What importing will do."""

    model: str
    source: str
    format: str
    place: str
    features: int
    activations: int
    labels: int
    scores: int
    width: int
    new_source: bool
    harvest: bool
    """Whether it brings a new harvest, or labels alone."""
    tokenizer_id: int | None
    already: bool
    """Exactly this was imported before."""
    findings: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        what = f"{self.features:,} features, {self.activations:,} activations and {self.labels:,} labels"
        there = "a new source" if self.new_source else f"of {self.width:,} features, known here"
        said = [f"{self.place}: {self.format}.", f"{what}, for {self.source} of {self.model} ({there})."]
        if self.already:
            said.append("Exactly this was imported before, so only labels that are missing will be added.")
        elif self.harvest:
            said.append("Its pages will show this when all of it has come in. Labels that are there stay.")
        return [*said, *self.findings]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(kw_only=True)
class Done:
    model: str
    source: str
    features: int
    examples: int
    passages: int
    """New texts."""
    labels: int
    """New ones."""
    labels_kept: int
    """That were there already, word for word."""
    scores: int
    harvest_id: int | None
    findings: list[str]

    def sentences(self) -> list[str]:
        return [
            f"{self.source} of {self.model}: {self.features:,} features with {self.examples:,} examples on "
            f"{self.passages:,} new texts; {self.labels:,} labels are new, {self.labels_kept:,} were there; "
            f"{self.scores:,} scores.",
            *self.findings,
        ]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


async def plan(database: Database, found: Look, *, model: str | None, source: str | None) -> Plan:
    """Checks what was found against what is asked and what is here. Writes nothing."""
    name, findings = _model(found, model), list(found.unknown)
    where = source or found.source
    if not where:
        raise BadInput(f"{found.place} does not say which source it is of: name it with --source.")
    if found.source and source and found.source != source:
        findings.append(f"Its rows say {found.source}; they are imported as {source}, as asked.")
    layer = where.partition("-")[0]
    if not (NAME.fullmatch(where) and int(layer) < MODELS[name].layers):
        raise BadInput(
            f"{where[:80]!r} is no source of {name}: a source's name begins with its layer, 0 to "
            f"{MODELS[name].layers - 1}, and goes on with letters, digits, '-', '_' and '.', such as "
            "12-gemmascope-2-res-16k."
        )
    harvest = bool(found.features or found.activations)
    async with database.session() as session:
        known = await queries.width(session, name, where)
        width = known or _published(name, where) or found.highest + 1
        if found.highest >= width:
            raise BadInput(
                f"{where} of {name} has {width:,} features, and {found.place} has one numbered {found.highest}. "
                "It is of another dictionary."
            )
        tokenizer_id = await _tokenizer(session, name, found)
        if tokenizer_id is not None and found.highest_token > (
            last := await queries.highest_token(session, tokenizer_id)
        ):
            raise BadInput(
                f"{found.place} has the token id {found.highest_token:,}, and the vocabulary of {name} ends at "
                f"{last:,}: its texts are of another tokenizer."
            )
        already = False
        if known is not None:
            row = await sources.find(session, name, where)
            already = await queries.same_import(session, row.id, identity_of(found)) is not None
    if harvest and tokenizer_id is None:
        raise BadInput(
            f"No vocabulary of {name} is known here yet, and texts come as strings. Start the server with it once "
            "(gemlens serve), or name its tokenizer.json with --tokenizer."
        )
    if harvest and found.features and found.features < width:
        findings.append(f"{width - found.features:,} of {width:,} features are not in it and will have no page.")
    return Plan(
        model=name,
        source=where,
        format=found.kind,
        place=found.place,
        features=found.features,
        activations=found.activations,
        labels=found.labels,
        scores=found.scores,
        width=width,
        new_source=known is None,
        harvest=harvest,
        tokenizer_id=tokenizer_id,
        already=already,
        findings=findings,
    )


async def bring(
    database: Database, reader: Reader, found: Look, planned: Plan, *, tell: Tell = silent, fill: Fill | None = None
) -> Done:
    """Stores what was planned. What cannot be kept leaves nothing behind; what was stopped goes on where it was."""
    async with database.session() as session:
        facts = MODELS[planned.model]
        described = {"layers": facts.layers, "width": facts.d_model, "chat": facts.chat}
        model_id, _ = await queries.ensure_model(session, planned.model, described)
        if planned.tokenizer_id is not None:
            await queries.know_tokenizer(session, model_id, planned.tokenizer_id)
        layer = int(planned.source.partition("-")[0])
        await queries.ensure_source(session, model_id, planned.source, layer=layer, width=planned.width)
        source = await sources.find(session, planned.model, planned.source)
        ready = await queries.same_import(session, source.id, identity_of(found)) if planned.harvest else None
    try:
        return await _bring(database, reader, found, planned, source, model_id, ready, tell, fill)
    except Unavailable:
        raise
    except Exception:
        await _forget(database, source, found, new=planned.new_source)
        raise


async def _bring(
    database: Database,
    reader: Reader,
    found: Look,
    planned: Plan,
    source: SourceRow,
    model_id: int,
    ready: int | None,
    tell: Tell,
    fill: Fill | None,
) -> Done:
    noted: Counter[str] = Counter()
    done = Done(
        model=planned.model, source=planned.source, features=0, examples=0, passages=0, labels=0, labels_kept=0,
        scores=0, harvest_id=ready, findings=[],
    )  # fmt: skip
    loading = None
    if planned.harvest and ready is None:
        loading = await _harvest(database, reader, found, planned, source, model_id, noted, done, tell, fill)
    # Words before light: whoever sees the source can search it.
    await _labels(database, source, reader.labels(), done, tell)
    if loading is not None:
        await loading.finish(features=done.features)
        done.harvest_id = loading.harvest_id
    elif ready is not None:
        async with database.session() as session:
            await queries.show(session, source.id, ready)
    async with database.session() as session:
        await queries.copy_best_scores(session, source.id)
    done.findings = [sentence.format(n=count) + "." for sentence, count in noted.items() if count]
    return done


async def _forget(database: Database, source: SourceRow, found: Look, *, new: bool) -> None:
    async with database.session() as session:
        begun = await queries.begun_import(session, source.id, identity_of(found))
    if begun is not None:
        await delete_harvest(database, begun)
    async with database.session() as session:
        await queries.forget_source(session, source, new=new)


def identity_of(found: Look) -> str:
    """What a harvest is known by that was made from exactly these files in this form."""
    return hashlib.sha256(json.dumps(["import", 1, found.kind, found.identity]).encode()).hexdigest()


async def _harvest(
    database: Database,
    reader: Reader,
    found: Look,
    planned: Plan,
    source: SourceRow,
    model_id: int,
    noted: Counter[str],
    done: Done,
    tell: Tell,
    fill: Fill | None,
) -> Loading:
    assert planned.tokenizer_id is not None
    async with database.session() as session:
        words = await vocabulary.read(session, planned.tokenizer_id)
        checkpoint_id = None
        if found.checkpoint is not None:
            checkpoint_id = await queries.checkpoint(session, model_id, found.checkpoint)
    corpus_id = await passages.corpus(
        database,
        tokenizer_id=planned.tokenizer_id,
        name=f"texts of imports: {found.kind}",
        description=f"Texts that came with imports of {found.kind}: those alone on which a feature has an example.",
    )
    before = await _passages(database, corpus_id)
    loading = await Loading.begin(
        database,
        source_id=source.id,
        corpus_id=corpus_id,
        checkpoint_id=checkpoint_id,
        origin=f"import of {found.kind}",
        dtype=None if found.checkpoint is None else found.checkpoint["dtype"],
        version=found.version or version("gemlens"),
        tokens=found.tokens,
        settings={**found.settings, "import": {"texts": found.texts, "format": found.kind}},
        identity=identity_of(found),
    )
    for number, part in reader.features(words, noted):
        sha256 = hashlib.sha256(f"{loading.harvest_id} {identity_of(found)} {number}".encode()).hexdigest()
        done.features += len(part)
        done.examples += sum(len(band.examples) for one in part for band in one.bands)
        if loading.done.get(number) != sha256:
            if fill is not None:
                part, left = await fill(part)
                noted[UNFILLED] += left
            try:
                await loading.put(number, sha256, await _rows(database, corpus_id, part))
            except (ValueError, OverflowError) as error:
                raise BadInput(
                    f"{planned.place}: features {part[0].index} to {part[-1].index} cannot be kept: {error}. Nothing "
                    "of it is shown."
                ) from None
        tell(f"{planned.source}: {done.features:,} of {planned.features:,} features.")
    done.passages = await _passages(database, corpus_id) - before
    return loading


async def _rows(database: Database, corpus_id: int, part: Sequence[GivenFeature]) -> list[FeatureRow]:
    texts = [one.ids for feature in part for band in feature.bands for one in band.examples]
    numbers = iter(await passages.put(database, corpus_id, texts))
    return [
        FeatureRow(
            index=feature.index,
            **feature.facts,
            bands=tuple(
                _stored(number, band, list(islice(numbers, len(band.examples))))
                for number, band in enumerate(feature.bands)
            ),
        )
        for feature in part
    ]


def _stored(number: int, band: GivenBand, passages_: list[int]) -> StoredBand:
    examples = band.examples
    packed = Band(
        passages=np.array(passages_, dtype=np.int64),
        peaks=np.array([one.peak for one in examples], dtype=np.float32),
        positions=np.array([one.position for one in examples], dtype=np.int64),
        counts=np.array([len(one.positions) for one in examples], dtype=np.int64),
        value_positions=np.concatenate([one.positions for one in examples]),
        values=np.concatenate([one.values for one in examples]),
    )
    return StoredBand(band=number, low=band.low, high=band.high, share=band.share, packed=packed)


async def _labels(database: Database, source: SourceRow, given: Iterable[GivenLabel], done: Done, tell: Tell) -> None:
    """Those that are not there word for word, some thousands to a transaction; and what they are worth."""
    rest = iter(given)
    while some := list(islice(rest, LABELS_AT_ONCE)):
        for label in some:
            source.check_index(label.index)
        async with database.session() as session:
            there = {
                (row.index, row.text, row.method, row.author)
                for row in await queries.labels(session, source.id, {label.index for label in some})
            }
        new = {
            (label.index, label.text, label.method, label.author): label
            for label in some
            if (label.index, label.text, label.method, label.author) not in there
        }
        done.labels += await labels.put(
            database,
            source,
            (
                labels.NewLabel(
                    index=label.index, text=label.text, method=label.method, author=label.author, version=label.version
                )
                for label in new.values()
            ),
        )
        done.labels_kept += len(some) - len(new)
        if scored := [label for label in some if label.scores]:
            async with database.session() as session:
                done.scores += await queries.put_scores(session, source.id, scored)
        tell(f"{source.name}: {done.labels + done.labels_kept:,} labels.")


async def _passages(database: Database, corpus_id: int) -> int:
    async with database.session() as session:
        return int(await session.scalar(text("select passages from corpus where id = :id"), {"id": corpus_id}) or 0)


def _model(found: Look, asked: str | None) -> str:
    said = [name for name in (asked, found.model) if name]
    if not said:
        raise BadInput(f"{found.place} does not say which model it is of: name it with --model.")
    try:
        names = [find_model(name).id for name in said]
    except UnknownName as error:
        raise BadInput(f"{found.place} is of a model that Gemlens does not know. {error}") from None
    if len(set(names)) > 1:
        raise BadInput(f"{found.place} is of {found.model}, and --model says {asked}. One of them is wrong.")
    return names[0]


def _published(model: str, source: str) -> int | None:
    """The number of features that a source of this name has."""
    try:
        name, _ = parse_source_id(model, source)
        return None if isinstance(name, Starter) else layer_width(name)
    except (UnknownName, AttributeError, KeyError):
        return None


async def _tokenizer(session: Any, model: str, found: Look) -> int | None:
    """The vocabulary that strings are looked up in: the one that ids are of; the model's; another Gemma 3's, which is
    the same."""
    there = await queries.tokenizers(session)
    if found.tokenizer is not None:
        for id_, sha256 in there:
            if sha256 == found.tokenizer:
                return id_
        if there:
            raise BadInput(f"{found.place} has token ids of another vocabulary than any that is known here.")
    return await queries.model(session, model) or (there[0][0] if there else None)
