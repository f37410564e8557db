"""Records as Neuronpedia's objects, ready for orjson. Pure. Shapes are those of `answers`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from app.neuronpedia.web.answering import OPTIONS, iso, moment
from app.neuronpedia.web.reading import ListedIn, ModelRow, Record
from app.neuronpedia.web.releases import release_of
from app.store import histograms
from app.store.features import Bands, Example
from app.store.labels import Label
from app.store.row_ids import CREATOR, digest, row_id
from app.store.sources import SourceRow

Object = dict[str, Any]
NONE = np.empty(0, dtype=np.int32)
TOP = -1
"""In place of an interval: the examples of greatest activation."""


def neuron(record: Record) -> Object:
    source, stat, detail = record.source, record.stat, record.detail
    heights, values = histograms.bars(NONE if detail is None else detail.histogram)
    logit_heights, logit_values = (
        ([], [])
        if detail is None
        else histograms.logit_bars(detail.logit_histogram, detail.logit_low, detail.logit_high)
    )
    texts = record.pieces.texts
    return {
        "modelId": source.model,
        "layer": source.name,
        "index": str(record.index),
        "sourceSetName": source.set_name,
        "creatorId": CREATOR,
        "createdAt": created(source),
        "maxActApprox": np.float32(0 if stat is None else stat.peak),
        "hasVector": False,
        "vector": [],
        "vectorLabel": None,
        "vectorDefaultSteerStrength": None,
        "hookName": None,
        "topkCosSimIndices": NONE if detail is None else detail.neighbours,
        "topkCosSimValues": NONE if detail is None else detail.neighbour_cosines,
        "neuron_alignment_indices": [],
        "neuron_alignment_values": [],
        "neuron_alignment_l1": [],
        "correlated_neurons_indices": [],
        "correlated_neurons_pearson": [],
        "correlated_neurons_l1": [],
        "correlated_features_indices": [],
        "correlated_features_pearson": [],
        "correlated_features_l1": [],
        "neg_str": texts(NONE if detail is None else detail.bottom_logits),
        "neg_values": NONE if detail is None else detail.bottom_logit_values,
        "pos_str": texts(NONE if detail is None else detail.top_logits),
        "pos_values": NONE if detail is None else detail.top_logit_values,
        "frac_nonzero": np.float32(0 if stat is None else stat.density),
        "freq_hist_data_bar_heights": heights,
        "freq_hist_data_bar_values": values,
        "logits_hist_data_bar_heights": logit_heights,
        "logits_hist_data_bar_values": np.asarray(logit_values, dtype=np.float32),
        "decoder_weights_dist": [],
        "umap_cluster": None,
        "umap_log_feature_sparsity": None,
        "umap_x": None,
        "umap_y": None,
    }


def full(record: Record, model: ModelRow, lists: Sequence[ListedIn]) -> Object:
    source = record.source
    return {
        **neuron(record),
        "model": model_object(model),
        "lists": [listed(source, record.index, one) for one in lists],
        "creator": None,
        "source": source_object(source),
        "sourceSet": set_object(source),
        "comments": [],
        "activations": activations(record),
        "explanations": explanations(record),
    }


def in_batch(record: Record, *, most: int | None = None) -> Object:
    return {**neuron(record), "explanations": explanations(record), "activations": activations(record, most=most)}


def in_search(record: Record, model: ModelRow) -> Object:
    return {**in_batch(record, most=1), "model": model_object(model)}


def named(record: Record) -> Object:
    return {**neuron(record), "explanations": explanations(record)[:1]}


def fragment(told: Any) -> orjson.Fragment:
    """Written once, for use in several places."""
    return orjson.Fragment(orjson.dumps(told, option=OPTIONS))


def created(source: SourceRow) -> str | None:
    return moment(source.harvest.finished) if source.harvest else None


def activations(record: Record, *, most: int | None = None) -> list[orjson.Fragment]:
    """Greatest first; of equals the first band's."""
    found = [(band, rank, example) for band in record.bands for rank, example in enumerate(band.examples)]
    found.sort(key=lambda one: -one[2].peak)
    source = record.source
    about = _inside(
        {
            "index": str(record.index),
            "layer": source.name,
            "source": source.name,
            "modelId": source.model,
            "dataSource": source.harvest.corpus if source.harvest else None,
            "creatorId": CREATOR,
            "createdAt": created(source),
        }
    )
    return [orjson.Fragment(b"{%b,%b}" % (about, _activation(record, *one))) for one in found[:most]]


def _activation(record: Record, band: Bands, rank: int, example: Example) -> bytes:
    """Written at once, so that thousands are never thousands of dictionaries."""
    source, interval = record.source, band.band > 0
    what = {
        "id": row_id(source.model, source.name, record.index, "activation", str(band.band), str(rank)),
        "tokens": orjson.Fragment(record.pieces.passage(example.ids)),
        "dataIndex": str(example.passage),
        "maxValue": np.float32(example.peak),
        "maxValueTokenIndex": example.position,
        "minValue": example.values.min() if len(example.values) else 0,
        "values": example.values,
    }
    interval_of = {
        "binMin": np.float32(band.low) if interval else TOP,
        "binMax": np.float32(band.high) if interval else TOP,
        "binContains": None if band.share is None or not interval else np.float32(band.share),
        "qualifyingTokenIndex": example.position if interval else None,
    }
    return b",".join((_inside(what), _UNFILLED, _inside(interval_of)))


def _inside(told: Object) -> bytes:
    """A JSON object without its braces."""
    return orjson.dumps(told, option=OPTIONS)[1:-1]


_UNFILLED = _inside(
    {
        "dfaValues": [],
        "dfaTargetIndex": None,
        "dfaMaxValue": None,
        "zQIndices": [],
        "zKIndices": [],
        "zValues": [],
        "lossValues": [],
        "logitContributions": None,
    }
)


def explanations(record: Record) -> list[Object]:
    return [explanation(record.source, label) for label in record.labels]


def explanation_id(source: SourceRow, label: Label) -> str:
    return row_id(source.model, source.name, label.index, "explanation", label.method, label.author or "", label.text)


def explanation(source: SourceRow, label: Label) -> Object:
    id_ = explanation_id(source, label)
    return {
        "id": id_,
        "modelId": source.model,
        "layer": source.name,
        "source": source.name,
        "index": str(label.index),
        "description": label.text,
        "explanationModelName": label.author,
        "typeName": label.method,
        "authorId": CREATOR,
        "createdAt": iso(label.created),
        "scores": [
            {
                "id": digest(id_, score.method, score.author or ""),
                "initiatedByUserId": CREATOR,
                "value": np.float32(score.value),
                "explanationId": id_,
                "explanationScoreTypeName": score.method,
                "explanationScoreModelName": score.author or "",
                "jsonDetails": "",
            }
            for score in label.scores
            if score.value is not None
        ],
        "triggeredByUser": None,
    }


def model_object(model: ModelRow) -> Object:
    return {
        "id": model.name,
        "displayName": model.name,
        "displayNameShort": model.name,
        "creatorId": CREATOR,
        "owner": "Google",
        "layers": model.layers,
        "neuronsPerLayer": 0,
        "dimension": model.width,
        "instruct": model.chat,
        "thinking": False,
        "inferenceEnabled": True,
        "visibility": "PUBLIC",
        "website": None,
    }


def source_object(source: SourceRow) -> Object:
    repo, folder = _on_the_hub(source.location)
    return {
        "id": source.name,
        "modelId": source.model,
        "setName": source.set_name,
        "creatorId": CREATOR,
        "visibility": "PUBLIC",
        "hasDashboards": source.harvest is not None,
        "inferenceEnabled": bool(source.location),
        "hfRepoId": repo,
        "hfFolderId": folder,
        "dataset": source.harvest.corpus if source.harvest else None,
        "num_prompts": None,
        "num_tokens_in_prompt": None,
        "notes": None,
    }


def set_object(source: SourceRow) -> Object:
    return {
        "modelId": source.model,
        "name": source.set_name,
        "description": "",
        "type": source.kind or "",
        "creatorId": CREATOR,
        "creatorName": "",
        "releaseName": release_of(source.set_name),
        "urls": [],
        "visibility": "PUBLIC",
        "hasDashboards": source.harvest is not None,
        "allowInferenceSearch": bool(source.location),
    }


def listed(source: SourceRow, index: int, one: ListedIn) -> Object:
    return {
        "modelId": source.model,
        "layer": source.name,
        "index": str(index),
        "listId": one.id,
        "description": one.note or None,
        "addedAt": iso(one.added),
        "list": {"id": one.id, "name": one.title, "description": one.description, "createdAt": iso(one.created)},
    }


def _on_the_hub(location: str | None) -> tuple[str | None, str | None]:
    """`hf:owner/repo/folder@revision` in two parts."""
    if not location or not location.startswith("hf:"):
        return None, None
    owner, _, rest = location.removeprefix("hf:").partition("@")[0].partition("/")
    repo, _, folder = rest.partition("/")
    return f"{owner}/{repo}", folder or None
