"""examples.safetensors: top-activating examples and top logits that some of Gemma Scope 2's folders bring along.

They were computed by the authors, so they are the exact test of our reading: `top_logits` of the decoder,
`activations` of model, site and encoder together. The file is large (its tokens alone 400 MB) and stays mapped.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.files import TensorFile
from inference.dictionaries.findings import Finding
from inference.errors import BadInput

NAME = "examples.safetensors"

TENSORS = {
    "tokens": 2, "activations": 2, "seq_ids": 2, "positions": 2, "logit_effects": 2, "top_tokens": 2, "top_logits": 2,
    "bottom_tokens": 2, "bottom_logits": 2, "feature_frequencies": 1,
}  # fmt: skip
"""Name -> number of axes. The first axis is the feature, except for `tokens` [sequences, T]."""

TOLERANCE = 0.05
"""Median relative difference up to which values count as equal: theirs were computed in reduced precision."""


class Examples:
    """The file, its form checked. Attributes are mapped tensors; index them before computing."""

    def __init__(self, folder: Path, *, width: int) -> None:
        file = TensorFile(folder / NAME)
        for name, axes in TENSORS.items():
            shape = file.shapes.get(name)
            if shape is None:
                continue
            if len(shape) != axes or (name != "tokens" and shape[0] != width):
                right = "[sequences, tokens]" if name == "tokens" else f"[{width}, …]" if axes == 2 else f"[{width}]"
                raise BadInput(f"{file.path}: {name} has shape {list(shape)}; {right} would be right.")
        self.file = file

    def __contains__(self, name: str) -> bool:
        return name in self.file.shapes

    def __getitem__(self, name: str) -> Tensor:
        return self.file.tensor(name)


def check_top_logits(
    dictionary: Dictionary,
    examples: Examples,
    unembedding: Tensor,
    *,
    to_residual: Callable[[Tensor], Tensor] | None = None,
    features: int = 64,
) -> Finding:
    """Recompute top logits of some features: unembedding [V, d_model] times the decoder row, straight or (for heads
    before W_O) through `to_residual`. Theirs may be of raw or of unit rows; one of the two must agree."""
    if "top_logits" not in examples or "top_tokens" not in examples:
        return Finding("ok", "The examples bring no top logits to compare with.", "top_logits")
    chosen = _spread(dictionary.spec.width, features)
    rows = dictionary.decoder_rows(chosen)
    norms = dictionary.norms()[chosen]
    residual = rows if to_residual is None else to_residual(rows)
    tokens = examples["top_tokens"][chosen].to(torch.int64)
    stored = examples["top_logits"][chosen].to(torch.float32)
    if int(tokens.min()) < 0 or int(tokens.max()) >= len(unembedding):
        sentence = f"The examples name token {int(tokens.max())}, and the model has {len(unembedding)}: another model."
        return Finding("error", sentence, "top_logits")
    chosen_tokens = unembedding[tokens.to(unembedding.device)].to("cpu", torch.float32)
    ours = torch.einsum("fd,fkd->fk", residual.to("cpu", torch.float32), chosen_tokens)
    return _compared("top logits", "top_logits", stored, {"raw": ours, "unit": ours / norms[:, None]}, len(chosen))


def check_activations(
    dictionary: Dictionary,
    examples: Examples,
    activations_at: Callable[[Tensor], Tensor],
    *,
    features: int = 8,
    per_feature: int = 2,
) -> Finding:
    """Recompute the strongest activations of some features. `activations_at(ids [T])` gives what the model does at the
    dictionary's read site: [T, d_in]."""
    if any(name not in examples for name in ("tokens", "activations", "seq_ids", "positions")):
        return Finding("ok", "The examples bring no activations to compare with.", "activations")
    spread = _spread(dictionary.spec.width, 4 * features).tolist()
    firing = [index for index in spread if float(examples["activations"][index, 0]) > 0][:features]
    stored, ours = [], []
    for index in firing:
        for rank in range(min(per_feature, examples["activations"].shape[1])):
            sequence = int(examples["seq_ids"][index, rank])
            ids = examples["tokens"][sequence].to(torch.int64)
            x = activations_at(ids)[int(examples["positions"][index, rank])]
            stored.append(float(examples["activations"][index, rank]))
            ours.append(float(dictionary.encode(x[None], columns=torch.tensor([index]))))
    if not stored:
        return Finding("ok", "None of the features looked at has an example.", "activations")
    folded = torch.tensor(ours)[:, None]
    norms = dictionary.norms()[torch.tensor(firing)].repeat_interleave(len(ours) // len(firing))[:, None]
    candidates = {"raw": folded / norms, "folded": folded}
    return _compared("activations", "activations", torch.tensor(stored)[:, None], candidates, len(firing))


def _compared(what: str, check: str, stored: Tensor, ours: dict[str, Tensor], features: int) -> Finding:
    """The candidate that is nearest, and whether it is near enough."""
    scale = stored.abs().clamp(min=1e-6)
    apart = {
        name: float(((values - stored).abs() / scale).nan_to_num(nan=1e9).median()) for name, values in ours.items()
    }
    best = min(apart, key=lambda name: apart[name])
    numbers = {"median_difference": apart[best], "features": float(features)}
    if apart[best] <= TOLERANCE:
        sentence = f"The {what} that came with the dictionary are met on {features} features ({best} values)."
        return Finding("ok", sentence, check, numbers)
    sentence = (
        f"The {what} that came with the dictionary are not met: on {features} features half of them are more than "
        f"{apart[best]:.0%} off. The dictionary belongs to another model or place, or was read wrongly."
    )
    return Finding("error", sentence, check, numbers)


def _spread(width: int, count: int) -> Tensor:
    """Features spread evenly over a dictionary, the first included."""
    return torch.arange(0, width, max(1, width // max(1, count)))[:count]
