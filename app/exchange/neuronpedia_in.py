"""Neuronpedia's bulk format, read: a source's folder with features/, activations/ and explanations/ in it.

Files are read twice: to look at everything, and to store it. In the look each file's range of indexes is noted, so that
storing a run of features reads only the files that can hold them, however many there are and in whatever order.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from app.exchange.files import batches, decoded, named, rows
from app.exchange.given import (
    LOST,
    NO_TOKEN,
    PART,
    SILENT,
    SPLIT,
    TWICE,
    GivenExample,
    GivenFeature,
    GivenLabel,
    Look,
    Score,
    check_text,
    example,
    in_bands,
    number,
)
from app.exchange.limits import Height, Marked, Share, Single, Whole
from app.exchange.manifest import Manifest, manifest_in
from app.exchange.vocabulary import Vocabulary
from app.store import histograms
from app.store.features import DENSE, NEVER_FIRED
from inference.errors import BadInput

FOLDERS = ("features", "activations", "explanations")
SCORES = "explanation_scores"
KIND = "Neuronpedia's bulk format"
NOT_SHOWN = -9_000.0
"""Logits below this are marks for having none."""
ANYTHING = msgspec.json.Decoder(Any)
Index = int | str
Numbers = list[Single | None] | None
Heights = list[Height | None] | None


class FeatureLine(msgspec.Struct):
    index: Index
    modelId: str = ""
    layer: str = ""
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


class ActivationLine(msgspec.Struct):
    index: Index
    tokens: list[str]
    values: list[Single | None]
    modelId: str = ""
    layer: str = ""
    dataSource: str | None = None
    binMin: Single | None = None
    binMax: Single | None = None
    binContains: Single | None = None


class ExplanationLine(msgspec.Struct):
    index: Index
    description: str | None = None
    id: str | None = None
    modelId: str = ""
    layer: str = ""
    typeName: str | None = None
    explanationModelName: str | None = None


class ScoreLine(msgspec.Struct):
    explanationId: str
    explanationScoreTypeName: str
    value: Single | None = None
    explanationScoreModelName: str | None = None
    jsonDetails: str | None = None


class SourceLine(msgspec.Struct):
    num_prompts: Whole | None = None
    num_tokens_in_prompt: Whole | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class Ranged:
    """A file and the features that it has rows of."""

    path: Path
    low: int
    high: int


class NeuronpediaFolder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._features: list[Ranged] = []
        self._activations: list[Ranged] = []
        self._scores: dict[str, list[Score]] = {}

    def look(self) -> Look:
        found = Look(kind=KIND, place=str(self.folder))
        files = {name: batches(self.folder / name) for name in FOLDERS}
        if not any(files.values()):
            raise BadInput(
                f"{self.folder} has no batches: .jsonl.gz files in features/, activations/ or explanations/ would be "
                "right."
            )
        told = manifest_in(self.folder)
        digest = hashlib.sha256()
        self._features = [self._file(path, FeatureLine, found, digest) for path in files["features"]]
        self._activations = [self._file(path, ActivationLine, found, digest) for path in files["activations"]]
        for path in files["explanations"]:
            self._file(path, ExplanationLine, found, digest)
        for path in batches(self.folder / SCORES):
            found.scores += sum(1 for _ in rows(path, ScoreLine))
        found.identity = digest.hexdigest()
        self._about(found, told)
        if not files["features"] and files["activations"]:
            found.unknown.append("It has no rows of features, so densities, logits and histograms stay empty.")
        elif not files["features"]:
            found.unknown.append("It has labels alone: what the source shows besides stays as it is.")
        elif not files["activations"]:
            found.unknown.append("It has no activations, so features will have no examples.")
        return found

    def features(self, vocabulary: Vocabulary, noted: Counter[str]) -> Iterator[tuple[int, list[GivenFeature]]]:
        highest = max((file.high for file in [*self._features, *self._activations]), default=-1)
        for part, low in enumerate(range(0, highest + 1, PART)):
            facts = self._facts(range(low, low + PART), vocabulary, noted)
            seen = self._examples(range(low, low + PART), vocabulary, noted)
            noted[SPLIT] = vocabulary.split
            if not self._features:
                facts = {index: {"density": 0.0, "mean": 0.0, "flags": 0} for index in seen}
            noted[LOST] += sum(len(of_one) for index, of_one in seen.items() if index not in facts)
            if facts:
                yield part, [_feature(index, facts[index], seen.get(index, [])) for index in sorted(facts)]

    def labels(self) -> Iterator[GivenLabel]:
        scores: dict[str, list[Score]] = {}
        for path in batches(self.folder / SCORES):
            for _, given in rows(path, ScoreLine):
                scores.setdefault(given.explanationId, []).append(_score(given))
        for path in batches(self.folder / "explanations"):
            for line, row in rows(path, ExplanationLine):
                if text := " ".join((row.description or "").split()):
                    yield GivenLabel(
                        index=number(row.index, f"{named(path)}, line {line}"),
                        text=text,
                        method=row.typeName or "human",
                        author=row.explanationModelName or None,
                        scores=tuple(scores.get(row.id or "", ())),
                    )

    def _file(self, path: Path, kind: type[Any], found: Look, digest: Any) -> Ranged:
        low, high, count = 2**31, -1, 0
        for line, row in rows(path, kind):
            where = f"{named(path)}, line {line}"
            index = number(row.index, where)
            low, high, count = min(low, index), max(high, index), count + 1
            self._whose(row, found, where)
            if isinstance(row, ActivationLine):
                check_text(row.tokens, row.values, where)
                found.texts = found.texts or row.dataSource or ""
        with path.open("rb") as file:
            digest.update(f"{named(path)} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        if kind is FeatureLine:
            found.features += count
        elif kind is ActivationLine:
            found.activations += count
        else:
            found.labels += count
        found.highest = max(found.highest, high)
        return Ranged(path, low, high)

    def _whose(self, row: Any, found: Look, where: str) -> None:
        for said, name in (("model", row.modelId), ("source", row.layer)):
            if not name:
                continue
            before = getattr(found, said)
            if before is None:
                setattr(found, said, name)
            elif before != name:
                raise BadInput(
                    f"{where} is of {said} {name[:80]}, and rows before it are of {before[:80]}. "
                    "One folder holds one source."
                )

    def _about(self, found: Look, told: Manifest | None) -> None:
        if told is not None:
            told.tell(found)
        elif (self.folder / "source.jsonl").is_file():
            for _, row in rows(self.folder / "source.jsonl", SourceLine):
                found.tokens = (row.num_prompts or 0) * (row.num_tokens_in_prompt or 0)
                found.texts = row.dataset or found.texts
        if found.model is None and len(self.folder.parts) > 2:
            found.model, found.source = self.folder.parent.name, self.folder.name
        if not found.tokens:
            found.unknown.append("It does not say how many tokens were read: densities stay, counts are unknown.")
        if found.checkpoint is None:
            found.unknown.append("It does not say which checkpoint it was made with.")

    def _facts(self, wanted: range, vocabulary: Vocabulary, noted: Counter[str]) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        for _, row in _of(self._features, FeatureLine, wanted):
            index = int(row.index)
            if index in found:
                noted[TWICE] += 1
            else:
                found[index] = feature_facts(row, vocabulary, noted)
        return found

    def _examples(self, wanted: range, vocabulary: Vocabulary, noted: Counter[str]) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        for where, row in _of(self._activations, ActivationLine, wanted):
            ids, starts = vocabulary.ids(row.tokens)
            one = example(ids, starts, [0.0 if value is None else value for value in row.values], where)
            if one is None:
                noted[SILENT] += 1
            else:
                found.setdefault(int(row.index), []).append((interval(row.binMin, row.binMax, row.binContains), one))
        return found


def interval(low: float | None, high: float | None, share: float | None) -> tuple[float, float, float | None] | None:
    """None stands for the top activations, which have -1 there, or nothing."""
    if low is None or high is None or (low < 0 and high <= 0):
        return None
    return low, high, None if share is None or share < 0 else share


def feature_facts(row: Any, vocabulary: Vocabulary, noted: Counter[str]) -> dict[str, Any]:
    """Of a row that has Neuronpedia's names for things."""
    heights, values = _numbers(row.freq_hist_data_bar_heights), _numbers(row.freq_hist_data_bar_values)
    logits = histograms.logit_counts(
        _numbers(row.logits_hist_data_bar_heights), _numbers(row.logits_hist_data_bar_values)
    )
    top, top_values = _logits(row.pos_str, row.pos_values, vocabulary, noted)
    bottom, bottom_values = _logits(row.neg_str, row.neg_values, vocabulary, noted)
    density = row.frac_nonzero or 0.0
    peak = row.maxActApprox
    neighbours = [
        (other, cosine)
        for other, cosine in zip(row.topkCosSimIndices or (), row.topkCosSimValues or (), strict=False)
        if cosine is not None and other >= 0 and other != int(row.index)
    ]
    silent = not density and not peak
    return {
        "density": density,
        "peak": peak,
        "mean": histograms.mean(heights, values),
        "flags": NEVER_FIRED if silent else DENSE if density > 0.1 else 0,
        "top_logits": top,
        "top_logit_values": top_values,
        "bottom_logits": bottom,
        "bottom_logit_values": bottom_values,
        "neighbours": [other for other, _ in neighbours],
        "neighbour_cosines": [cosine for _, cosine in neighbours],
        "histogram": histograms.counts(heights, values),
        "logit_histogram": logits[0],
        "logit_low": logits[1],
        "logit_high": logits[2],
    }


def _feature(index: int, facts: dict[str, Any], seen: list[tuple[Any, GivenExample]]) -> GivenFeature:
    strongest = max((one.peak for _, one in seen), default=0.0)
    if facts.get("peak") is None:
        facts["peak"] = strongest
    if strongest:
        facts["flags"] &= ~NEVER_FIRED
    return GivenFeature(index=index, facts=facts, bands=in_bands(seen))


def _of(files: Sequence[Ranged], kind: type[Any], wanted: range) -> Iterator[tuple[str, Any]]:
    for file in files:
        if file.low < wanted.stop and file.high >= wanted.start:
            for line, row in rows(file.path, kind):
                if int(row.index) in wanted:
                    yield f"{named(file.path)}, line {line}", row


def _numbers(values: Numbers) -> list[float]:
    return [0.0 if value is None else value for value in values or ()]


def _logits(
    strings: list[str | None] | None, values: Numbers, vocabulary: Vocabulary, noted: Counter[str]
) -> tuple[list[int], list[float]]:
    ids, found = [], []
    for string, value in zip(strings or (), values or (), strict=False):
        if string is None or value is None or value < NOT_SHOWN:
            continue
        one = vocabulary.one(string)
        if one is None:
            noted[NO_TOKEN] += 1
        else:
            ids.append(one)
            found.append(value)
    return ids, found


def _score(row: ScoreLine) -> Score:
    details: dict[str, Any] | None = None
    if row.jsonDetails:
        try:
            parsed = decoded(ANYTHING, row.jsonDetails.encode(), "jsonDetails")
            details = parsed if isinstance(parsed, dict) else {"given": parsed}
        except BadInput:
            details = {"text": row.jsonDetails}
    return Score(
        method=row.explanationScoreTypeName, author=row.explanationScoreModelName, value=row.value, details=details
    )
