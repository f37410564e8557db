"""What the engine should answer, worked out from `transformers` and numpy alone, one prompt at a time, unpadded.

Nothing here is shared with the code under test: sites are caught by hooks on modules by their names in the files'
configuration, weights are read by safetensors, and the formulas are written out once more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor
from transformers import Gemma3ForCausalLM

Edit = Callable[[Tensor], Tensor]


class Reference:
    def __init__(self, folder: Path) -> None:
        self.network = Gemma3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.layers = len(self.network.model.layers)

    def run(self, ids: Any, edits: dict[str, Edit] | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """(all sites [T, width], logits [T, V])"""
        caught: dict[str, Tensor] = {}
        handles = []

        def catch(name: str, value: Tensor) -> Tensor | None:
            edit = (edits or {}).get(name)
            changed = edit(value) if edit else None
            caught[name] = (value if changed is None else changed)[0]
            return changed

        for number, layer in enumerate(self.network.model.layers):
            for kind, module in (
                ("mlp_in", layer.pre_feedforward_layernorm),
                ("mlp_out", layer.post_feedforward_layernorm),
                ("resid_post", layer),
            ):
                name = f"{kind}.{number}"
                handles.append(module.register_forward_hook(lambda _m, _i, out, name=name: catch(name, out)))
            name = f"attn_out.{number}"
            handles.append(
                layer.self_attn.o_proj.register_forward_pre_hook(lambda _m, args, name=name: catch(name, args[0]))
            )
        try:
            logits = self.network(input_ids=torch.tensor([list(map(int, ids))]), use_cache=False).logits[0]
        finally:
            for handle in handles:
                handle.remove()
        return caught, logits

    def sites(self, ids: Any) -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {name: value.numpy() for name, value in self.run(ids)[0].items()}

    def logits(self, ids: Any, edits: dict[str, Edit] | None = None) -> np.ndarray:
        with torch.no_grad():
            return self.run(ids, edits)[1].numpy().astype(np.float64)

    def losses(self, ids: Any, edits: dict[str, Edit] | None = None) -> np.ndarray:
        logits = self.logits(ids, edits)[:-1]
        return np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + (
            logits.max(-1) - logits[np.arange(len(logits)), np.asarray(ids)[1:]]
        )


class Weights:
    """One layer's tensors of a dictionary, in float64."""

    def __init__(self, folder: Path, position: int | None = None) -> None:
        name = "params.safetensors" if position is None else f"params_layer_{position}.safetensors"
        tensors = load_file(folder / name)
        self.w_enc, self.b_enc, self.threshold, self.w_dec, self.b_dec = (
            tensors[key].astype(np.float64) for key in ("w_enc", "b_enc", "threshold", "w_dec", "b_dec")
        )
        self.skip = tensors.get("affine_skip_connection")
        if position is not None:
            self.w_dec[:, :position] = 0
        self.norms = np.linalg.norm(self.w_dec.reshape(len(self.w_dec), -1), axis=1)

    def pre(self, x: np.ndarray) -> np.ndarray:
        return x.astype(np.float64) @ self.w_enc + self.b_enc

    def raw(self, x: np.ndarray) -> np.ndarray:
        pre = self.pre(x)
        return np.where(pre > self.threshold, pre, 0.0)

    def folded(self, x: np.ndarray) -> np.ndarray:
        return self.raw(x) * self.norms

    def reconstruction(self, x: np.ndarray, *, with_skip: bool = True) -> np.ndarray:
        result = self.raw(x) @ self.w_dec + self.b_dec
        return result + x @ self.skip if with_skip and self.skip is not None else result


def unexplained(target: np.ndarray, reconstruction: np.ndarray, b_dec: np.ndarray) -> np.ndarray:
    return ((target - reconstruction) ** 2).sum(-1) / ((target - b_dec) ** 2).sum(-1)
