"""SAEDashboard's JSON, read: `batch-N.json` files, each with some features and all of their activations."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from app.exchange.files import document, in_order, named
from app.exchange.given import (
    SILENT,
    SPLIT,
    TWICE,
    GivenFeature,
    GivenLabel,
    Look,
    check_text,
    example,
    in_bands,
    number,
)
from app.exchange.limits import Marked, Share, Single
from app.exchange.neuronpedia_in import Heights, Numbers, feature_facts, interval
from app.exchange.vocabulary import Vocabulary
from app.store.features import NEVER_FIRED
from inference.errors import BadInput

KIND = "SAEDashboard's JSON"


class ActivationItem(msgspec.Struct):
    tokens: list[str]
    values: list[Single | None]
    bin_min: Single | None = None
    bin_max: Single | None = None
    bin_contains: Single | None = None


class FeatureItem(msgspec.Struct):
    index: int | str = msgspec.field(name="feature_index")
    activations: list[ActivationItem] | None = None
    maxActApprox: Single | None = None
    frac_nonzero: Share | None = None
    freq_hist_data_bar_heights: Heights = None
    freq_hist_data_bar_values: Numbers = None
    logits_hist_data_bar_heights: Numbers = None
    logits_hist_data_bar_values: Numbers = None
    neg_str: list[str | None] | None = None
    neg_values: Numbers = None
    pos_str: list[str | None] | None = None
    pos_values: Numbers = None
    topkCosSimIndices: list[Marked] | None = None
    topkCosSimValues: Numbers = None


class Batch(msgspec.Struct):
    features: list[FeatureItem]
    model_id: str | None = None
    layer: int | str | None = None
    sae_set: str | None = None
    sae_id_suffix: str | None = None

    @property
    def source(self) -> str | None:
        if self.layer is None or not self.sae_set:
            return None
        suffix = f"__{self.sae_id_suffix}" if self.sae_id_suffix else ""
        return f"{self.layer}-{self.sae_set}{suffix}"


def batches_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("batch-*.json"), key=in_order)


class DashboardFiles:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.files = batches_in(place) if place.is_dir() else [place]

    def look(self) -> Look:
        found = Look(kind=KIND, place=str(self.place))
        digest = hashlib.sha256()
        for path in self.files:
            batch = document(path, Batch)
            for said, name in (("model", batch.model_id), ("source", batch.source)):
                before = getattr(found, said)
                if name and before not in (None, name):
                    raise BadInput(f"{named(path)} is of {said} {name[:80]}, and files before it of {before[:80]}.")
                setattr(found, said, before or name)
            found.features += len(batch.features)
            for item in batch.features:
                where = f"{named(path)}, feature {item.index}"
                found.highest = max(found.highest, number(item.index, where))
                for one in item.activations or ():
                    check_text(one.tokens, one.values, where)
                found.activations += len(item.activations or ())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        if not found.features:
            raise BadInput(f"{self.place} has no features in it.")
        found.identity = digest.hexdigest()
        found.unknown.append("It does not say how many tokens were read, nor which checkpoint it was made with.")
        return found

    def features(self, vocabulary: Vocabulary, noted: Counter[str]) -> Iterator[tuple[int, list[GivenFeature]]]:
        seen: set[int] = set()
        for part, path in enumerate(self.files):
            found = []
            for item in document(path, Batch).features:
                if int(item.index) in seen:
                    noted[TWICE] += 1
                    continue
                seen.add(int(item.index))
                found.append(_feature(item, vocabulary, noted, f"{named(path)}, feature {item.index}"))
            noted[SPLIT] = vocabulary.split
            if found:
                yield part, sorted(found, key=lambda one: one.index)

    def labels(self) -> Iterator[GivenLabel]:
        yield from ()


def _feature(item: FeatureItem, vocabulary: Vocabulary, noted: Counter[str], where: str) -> GivenFeature:
    examples: list[tuple[Any, Any]] = []
    for one in item.activations or ():
        ids, starts = vocabulary.ids(one.tokens)
        made = example(ids, starts, [0.0 if value is None else value for value in one.values], where)
        if made is None:
            noted[SILENT] += 1
        else:
            examples.append((interval(one.bin_min, one.bin_max, one.bin_contains), made))
    facts = feature_facts(item, vocabulary, noted)
    strongest = max((one.peak for _, one in examples), default=0.0)
    if facts["peak"] is None:
        facts["peak"] = strongest
    if strongest:
        facts["flags"] &= ~NEVER_FIRED
    return GivenFeature(index=int(item.index), facts=facts, bands=in_bands(examples))
