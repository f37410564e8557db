"""Requests to every route and the answers that were looked at and found right, in both dialects.

`python -m tests.app.neuronpedia.snapshots` writes the answers anew; look at what changed.
"""

import json
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from tests.app.neuronpedia.engine import SAE, TRANSCODER, HandEngine
from tests.pages import MODEL, client, make_app

FILE = Path(__file__).parent / "snapshots.json"
CAMEL = {"User-Agent": "node"}
SNAKE = {"User-Agent": "OpenAPI-Generator/1.10.1/python"}
TEXT = "the cat sat"
_ALL = {
    "model": MODEL, "sourceSet": "tiny-res", "selectedSources": [], "sortByTokenIndexes": [], "ignoreBos": True,
    "numResults": 3,
}  # fmt: skip
_TOP = {"model": MODEL, "source": SAE.id, "topK": 5, "ignoreBos": True}
REQUESTS: dict[str, tuple[str, Any]] = {
    "tokenize": ("tokenize", {"model": MODEL, "text": TEXT, "prependBos": False}),
    "apply-chat-template": (
        "apply-chat-template",
        {"messages": [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "sat"}]},
    ),
    "activation/single": ("activation/single", {"model": MODEL, "prompt": TEXT, "source": SAE.id, "index": "1"}),
    "activation/single by vector": (
        "activation/single",
        {"model": MODEL, "prompt": TEXT, "vector": [1, 0, 0, 0.5], "hook": "blocks.1.hook_resid_post"},
    ),
    "activation/single-batch": (
        "activation/single-batch", {"model": MODEL, "prompts": [TEXT, "a"], "source": SAE.id, "index": "0"},
    ),
    "activation/all": ("activation/all", {**_ALL, "prompt": TEXT}),
    "activation/all sorted": (
        "activation/all", {**_ALL, "prompt": TEXT, "sortByTokenIndexes": [0, 2], "ignoreBos": False},
    ),
    "activation/all-batch": ("activation/all-batch", {**_ALL, "prompts": ["a", TEXT], "numResults": 1}),
    "activation/topk-by-token": ("activation/topk-by-token", {**_TOP, "prompt": "the cat"}),
    "activation/topk-by-token-batch": (
        "activation/topk-by-token-batch", {**_TOP, "prompts": ["the", "a"], "topK": 2, "ignoreBos": False},
    ),
    "activation/source": ("activation/source", {"model": MODEL, "source": SAE.id, "prompts": ["the cat", "a"]}),
    "activation/raw": ("activation/raw", {"prompts": [TEXT, "a"], "layers": [2, 0, 2]}),
    "util/sae-vector": ("util/sae-vector", {"model": MODEL, "source": TRANSCODER.id, "index": 3}),
    "util/sae-topk-by-decoder-cossim": (
        "util/sae-topk-by-decoder-cossim",
        {"model": MODEL, "source": SAE.id, "numResults": 2,
         "feature": {"model": MODEL, "source": TRANSCODER.id, "index": 3}},
    ),
    "util/sae-topk-by-decoder-cossim by vector": (
        "util/sae-topk-by-decoder-cossim", {"model": MODEL, "source": SAE.id, "numResults": 1, "vector": [1, 2, 3, 4]},
    ),
}  # fmt: skip
READ = ("/v1/capabilities", "/v1/health", "/health")


def asked(browser: TestClient, path: str, body: Any, headers: dict[str, str]) -> Any:
    response = browser.post(f"/v1/{path}", json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def main() -> None:
    with client(make_app(HandEngine())) as browser:
        told = {
            name: {"camel": asked(browser, *request, CAMEL), "snake": asked(browser, *request, SNAKE)}
            for name, request in REQUESTS.items()
        } | {path: browser.get(path).json() for path in READ}
    FILE.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
