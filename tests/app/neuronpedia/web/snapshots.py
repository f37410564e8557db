"""Requests to every route of the web API that reads, and the answers that were looked at and found right.

With WRITE_SNAPSHOTS=1 in the environment `test_shapes.py` writes the answers anew; look at what changed. Moments of
time are left out.
"""

import re
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from app.neuronpedia.web import answers
from tests.app.world import MODEL

FILE = Path(__file__).parent / "snapshots.json"
SOURCE, EARLIER, SET = "12-starter-res-64", "9-starter-res-64", "starter-res-64"
TEXT = "the cat sat"
_FEATURE = {"modelId": MODEL, "layer": SOURCE}
REQUESTS: dict[str, tuple[str, Any, Any]] = {
    "feature": (f"feature/{MODEL}/{SOURCE}/6", None, answers.FullNeuron),
    "feature that never fired": (f"feature/{MODEL}/{SOURCE}/63", None, answers.FullNeuron),
    "features": (
        "features",
        [{**_FEATURE, "index": 12, "maxActsToReturn": 1}, {**_FEATURE, "index": 3, "maxActsToReturn": 0}],
        list[answers.NeuronInBatch],
    ),
    "features-offset": ("features-offset", {**_FEATURE, "offset": 61}, list[answers.NeuronInSource]),
    "activation/get": ("activation/get", {"modelId": MODEL, "source": SOURCE, "index": "63"}, list[answers.Activation]),
    "activation/new": (
        "activation/new", {"feature": {**_FEATURE, "index": "7"}, "customText": TEXT}, answers.OverText,
    ),
    "activation/new, several texts, index 0": (
        "activation/new", {"neuron": {"modelId": MODEL, "source": SOURCE, "index": 0}, "customText": [TEXT, "a"]},
        list[answers.OverText],
    ),
    "activation/source": (
        "activation/source", {"modelId": MODEL, "source": SOURCE, "customText": "cat"}, answers.SourceOverTexts,
    ),
    "search-all": (
        "search-all",
        {"modelId": MODEL, "sourceSet": SET, "text": TEXT, "selectedLayers": [], "sortIndexes": [], "ignoreBos": True,
         "densityThreshold": -1, "numResults": 1},
        answers.Search,
    ),
    "search-all, several texts, sorted": (
        "search-all",
        {"modelId": MODEL, "sourceSet": SET, "text": ["cat"], "selectedLayers": [EARLIER], "sortIndexes": [1],
         "numResults": 1},
        answers.Searches,
    ),
    "search-topk-by-token": (
        "search-topk-by-token",
        {"modelId": MODEL, "source": SOURCE, "text": "cat", "numResults": 1, "densityThreshold": 0.5}, answers.TopK,
    ),
    "search-topk-by-token, several texts": (
        "search-topk-by-token",
        {"modelId": MODEL, "source": SOURCE, "text": ["cat", "a"], "numResults": 2, "ignoreBos": False}, answers.TopKs,
    ),
    "cossim": (
        "cossim", {**_FEATURE, "index": "3", "targetModelId": MODEL, "targetSourceId": EARLIER}, answers.Cossim,
    ),
    "tokenize": ("tokenize", {"prompt": TEXT, "modelId": MODEL}, answers.Tokenized),
    "tokenize without BOS": ("tokenize", {"prompt": TEXT, "modelId": MODEL, "prependBos": False}, answers.Tokenized),
}  # fmt: skip
EXPLANATIONS: dict[str, Any] = {
    "explanation/search": {"modelId": MODEL, "layers": [SOURCE], "query": "musical instruments"},
    "explanation/search-model": {"modelId": MODEL, "query": "musical instruments"},
    "explanation/search-release": {"releaseName": "starter", "query": "musical instruments"},
    "explanation/search-all": {"query": "musical instruments"},
}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def timeless(told: Any) -> Any:
    """The answer with `then` for each moment of time."""
    if isinstance(told, dict):
        return {name: timeless(value) for name, value in told.items()}
    if isinstance(told, list):
        return [timeless(value) for value in told]
    return "then" if isinstance(told, str) and _MOMENT.fullmatch(told) else told


def checked(told: Any, shape: Any) -> None:
    """The answer has every field of its shape, of its type, and no other."""
    TypeAdapter(shape).validate_python(told, strict=False)
