"""What a live page must show, by plain transformers and numpy from the files. Shares no code with what it judges."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
import torch
from safetensors.numpy import load_file
from transformers import Gemma3ForCausalLM

BOS = 2


@dataclass(frozen=True)
class Expected:
    ids: list[int]
    activations: np.ndarray
    """[tokens, features]: the length that each feature adds."""
    unexplained: np.ndarray
    """[tokens]"""
    following: np.ndarray
    """[vocabulary]: probabilities of the next token."""


def expected(model: Path, dictionary: Path, layer: int, text: str) -> Expected:
    ids = [BOS, *tokenizers.Tokenizer.from_file(str(model / "tokenizer.json")).encode(text).ids]
    network = Gemma3ForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    with torch.no_grad():
        out = network(torch.tensor([ids]), output_hidden_states=True)
    # hidden_states starts with the embeddings; only the last one has passed the final norm.
    x = out.hidden_states[layer + 1][0].double().numpy()
    w = {name: tensor.astype(np.float64) for name, tensor in load_file(dictionary / "params.safetensors").items()}
    pre = x @ w["w_enc"] + w["b_enc"]
    raw = np.where((pre > w["threshold"]) & (pre > 0), pre, 0.0)
    error = raw @ w["w_dec"] + w["b_dec"] - x
    return Expected(
        ids=ids,
        activations=raw * np.linalg.norm(w["w_dec"], axis=1),
        unexplained=(error**2).sum(1) / ((x - w["b_dec"]) ** 2).sum(1),
        following=torch.softmax(out.logits[0, -1].double(), 0).numpy(),
    )
