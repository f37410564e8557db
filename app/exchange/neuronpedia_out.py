"""Neuronpedia's bulk format, written. Fields are exactly its exporter's, because its importer makes columns of them.

A token is written as the vocabulary has it, bytes as `<0xE2>`, so that it is found again. Ids are made from what a row
is of, so that the same rows get the same ids wherever they are exported. Vectors of labels are left out: they are of
another model than Neuronpedia's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from app.exchange.given import GivenLabel
from app.exchange.numbers import dense, short, shorts
from app.exchange.records import Record, Some
from app.store import histograms
from app.store.features import Bands, Example
from app.store.row_ids import CREATOR, digest, row_id
from app.store.sources import SourceRow
from app.store.tokens import UNKNOWN
from inference.errors import BadInput

BATCH = 1024
Row = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """What some features add to the files of their batch."""

    features: list[bytes]
    activations: list[bytes]
    explanations: list[bytes]
    explanation_scores: list[bytes]


def rows_of(source: SourceRow, some: Some, *, texts: str) -> Rows:
    found = Rows([], [], [], [])
    for record in some.records:
        found.features.append(_line(_feature(source, record, some.texts)))
        found.activations.extend(map(_line, _activations(source, record, some.texts, texts)))
        for label in record.labels:
            id_ = _id(source, label.index, "explanation", label.method, label.author or "", label.text)
            found.explanations.append(_line(_explanation(source, label, id_)))
            found.explanation_scores.extend(map(_line, _scores(label, id_)))
    return found


def about(source: SourceRow, *, tokens: int, passages_of: int, texts: str) -> Mapping[str, bytes]:
    """The four files of one row that say what the rest is of."""
    release = f"gemlens-{source.set_name}"
    return {
        "release.jsonl": _line(
            {"name": release, "description": "Exported by Gemlens.", "defaultSourceSetName": source.set_name}
        ),
        "model.jsonl": _line({"id": source.model, "displayName": source.model, "creatorId": CREATOR}),
        "sourceset.jsonl": _line(
            {"modelId": source.model, "name": source.set_name, "creatorId": CREATOR, "releaseName": release}
        ),
        "source.jsonl": _line(
            {"id": source.name, "modelId": source.model, "setName": source.set_name, "creatorId": CREATOR,
             "dataset": texts, "num_prompts": tokens // max(1, passages_of), "num_tokens_in_prompt": passages_of}
        ),
    }  # fmt: skip


def _feature(source: SourceRow, record: Record, texts: Mapping[int, str]) -> Row:
    stat, detail = record.stat, record.detail
    heights, values = histograms.bars(detail.histogram)
    logit_heights, logit_values = histograms.logit_bars(detail.logit_histogram, detail.logit_low, detail.logit_high)
    return {
        "modelId": source.model,
        "layer": source.name,
        "index": str(stat.index),
        "sourceSetName": source.set_name,
        "creatorId": CREATOR,
        "maxActApprox": short(stat.peak),
        "hasVector": False,
        "vector": [],
        "vectorLabel": None,
        "vectorDefaultSteerStrength": None,
        "hookName": None,
        "topkCosSimIndices": detail.neighbours.tolist(),
        "topkCosSimValues": shorts(detail.neighbour_cosines),
        "neuron_alignment_indices": [],
        "neuron_alignment_values": [],
        "neuron_alignment_l1": [],
        "correlated_neurons_indices": [],
        "correlated_neurons_pearson": [],
        "correlated_neurons_l1": [],
        "neg_str": [texts.get(id_, UNKNOWN) for id_ in detail.bottom_logits.tolist()],
        "neg_values": shorts(detail.bottom_logit_values),
        "pos_str": [texts.get(id_, UNKNOWN) for id_ in detail.top_logits.tolist()],
        "pos_values": shorts(detail.top_logit_values),
        "frac_nonzero": short(stat.density),
        "freq_hist_data_bar_heights": heights,
        "freq_hist_data_bar_values": values,
        "logits_hist_data_bar_heights": logit_heights,
        "logits_hist_data_bar_values": logit_values,
        "decoder_weights_dist": [],
    }


def _activations(source: SourceRow, record: Record, texts: Mapping[int, str], origin: str) -> Iterator[Row]:
    for band in record.bands:
        for rank, example in enumerate(band.examples):
            yield {
                "id": _id(source, record.index, "activation", str(band.band), str(rank)),
                "modelId": source.model,
                "layer": source.name,
                "index": str(record.index),
                "creatorId": CREATOR,
                "dataSource": origin,
                **_example(example, texts),
                "dfaValues": [],
                "dfaMaxValue": None,
                "dfaTargetIndex": None,
                **_interval(band),
            }


def _example(example: Example, texts: Mapping[int, str]) -> Row:
    values = dense(example.values)
    return {
        "tokens": [texts.get(id_, UNKNOWN) for id_ in example.ids.tolist()],
        "values": values,
        "maxValue": max(values, default=0),
        "minValue": min(values, default=0),
        "maxValueTokenIndex": int(np.argmax(example.values)) if len(values) else 0,
    }


def _interval(band: Bands) -> Row:
    if band.band == 0:
        return {"binMin": -1, "binMax": -1, "binContains": -1}
    return {"binMin": short(band.low), "binMax": short(band.high), "binContains": short(band.share)}


def _explanation(source: SourceRow, label: GivenLabel, id_: str) -> Row:
    return {
        "id": id_,
        "modelId": source.model,
        "layer": source.name,
        "index": str(label.index),
        "authorId": CREATOR,
        "description": label.text,
        "embedding": None,
        "typeName": label.method,
        "explanationModelName": label.author,
        "umap_x": 0,
        "umap_y": 0,
        "umap_cluster": 0,
        "umap_log_feature_sparsity": 0,
    }


def _scores(label: GivenLabel, explanation: str) -> Iterator[Row]:
    for score in label.scores:
        yield {
            "id": digest(explanation, score.method, score.author or ""),
            "explanationId": explanation,
            "explanationScoreTypeName": score.method,
            "explanationScoreModelName": score.author,
            "value": short(score.value),
            "jsonDetails": None
            if score.details is None
            else msgspec.json.encode(score.details, order="sorted").decode(),
        }


def _id(source: SourceRow, index: int, *what: str) -> str:
    return row_id(source.model, source.name, index, *what)


def _line(row: Row) -> bytes:
    try:
        return msgspec.json.encode(row) + b"\n"
    except UnicodeEncodeError as error:
        raise BadInput(f"A text of this source cannot be written as JSON: {error}.") from None
