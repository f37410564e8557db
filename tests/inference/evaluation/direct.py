"""Every figure computed directly: plain transformers with its own hooks, numpy in float64, one passage at a time, all
tokens held. Shares no code with what it judges, except that `tests.inference.dictionaries.reference` reads files."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Gemma3ForCausalLM

from tests.inference.dictionaries.reference import Arrays, load

Change = Callable[[np.ndarray], np.ndarray | None]
CONTROL = {0, 1, 2, 3, 4, 105, 106}
"""pad, eos, bos, unk, mask, start and end of turn."""


class Plain:
    """A Gemma 3 by transformers alone."""

    def __init__(self, folder: Path) -> None:
        self.network: Any = Gemma3ForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()

    @contextmanager
    def changed(self, changes: Mapping[str, Change]) -> Iterator[None]:
        handles = []
        for site, change in changes.items():
            kind, _, number = site.partition(".")
            layer = self.network.model.layers[int(number)]
            if kind == "attn_out":
                handles.append(layer.self_attn.o_proj.register_forward_pre_hook(_before(change)))
            else:
                module = {
                    "resid_post": layer,
                    "mlp_in": layer.pre_feedforward_layernorm,
                    "mlp_out": layer.post_feedforward_layernorm,
                }[kind]
                handles.append(module.register_forward_hook(_behind(change)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def losses(self, ids: list[int], changes: Mapping[str, Change]) -> np.ndarray:
        """Of each next token: [T-1]"""
        with torch.no_grad(), self.changed(changes):
            logits = self.network(torch.tensor([ids])).logits[0].double().numpy()
        shifted = logits[:-1] - logits[:-1].max(1, keepdims=True)
        normal = np.log(np.exp(shifted).sum(1))
        return normal - shifted[np.arange(len(ids) - 1), ids[1:]]

    def read(self, ids: list[int], sites: list[str]) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}

        def keeper(site: str) -> Change:
            def keep(value: np.ndarray) -> None:
                found[site] = value

            return keep

        self.losses(ids, {site: keeper(site) for site in sites})
        return found


def _value(tensor: torch.Tensor, change: Change) -> torch.Tensor | None:
    changed = change(tensor[0].double().numpy())
    return None if changed is None else torch.tensor(changed)[None].to(tensor)


def _before(change: Change) -> Any:
    def hook(_: Any, inputs: tuple[torch.Tensor, ...]) -> Any:
        changed = _value(inputs[0], change)
        return None if changed is None else (changed,)

    return hook


def _behind(change: Change) -> Any:
    def hook(_: Any, inputs: Any, output: torch.Tensor) -> Any:
        return _value(output, change)

    return hook


@dataclass
class Told:
    """A dictionary as its files tell it, at one of its layers."""

    folder: Path
    reads: list[str]
    writes: list[str]
    position: int = 0
    prefix: int | None = None
    skip: bool = True

    def __post_init__(self) -> None:
        self.layers: list[dict[str, np.ndarray]] = load(self.folder)

    def features(self, read: Mapping[str, np.ndarray], position: int) -> np.ndarray:
        """Raw, [T, F]"""
        layer: Arrays = self.layers[position]
        pre = read[self.reads[position]] @ layer["w_enc"] + layer["b_enc"]
        fired = np.where(pre > layer["threshold"], pre, 0.0)
        return fired if self.prefix is None else np.where(np.arange(len(fired[0])) < self.prefix, fired, 0.0)

    def reconstruction(self, read: Mapping[str, np.ndarray]) -> np.ndarray:
        aim = self.layers[self.position]
        made = np.tile(aim["b_dec"], (len(read[self.reads[0]]), 1))
        for position in range(self.position + 1):
            w_dec = self.layers[position]["w_dec"]
            made = made + self.features(read, position) @ (w_dec if w_dec.ndim == 2 else w_dec[:, self.position])
        if self.skip and "affine_skip_connection" in aim:
            made = made + read[self.reads[self.position]] @ aim["affine_skip_connection"]
        return made


def counted(ids: list[int]) -> np.ndarray:
    kept = [one not in CONTROL for one in ids]
    for place, one in enumerate(ids):
        if one == 105 and ids[place + 2 : place + 3] == [107]:  # a turn's header: its role and a newline
            kept[place + 1] = kept[place + 2] = False
        if one == 106 and ids[place + 1 : place + 2] == [107]:
            kept[place + 1] = False
    return np.array(kept)


def spliced(dictionaries: list[Told], ids: list[int]) -> dict[str, Change]:
    """Changes that put reconstructions in, made from what the same pass holds."""
    read: dict[str, np.ndarray] = {}
    keep = counted(ids)
    writers = {one.writes[one.position]: one for one in dictionaries}

    def changing(site: str) -> Change:
        def change(value: np.ndarray) -> np.ndarray | None:
            read[site] = value
            if site not in writers:
                return None
            made = writers[site].reconstruction(read)
            return np.where(keep[:, None], made, value)

        return change

    sites = {site for one in dictionaries for site in one.reads[: one.position + 1]} | set(writers)
    return {site: changing(site) for site in sites}


def ablated(means: Mapping[str, np.ndarray], ids: list[int]) -> dict[str, Change]:
    keep = counted(ids)[:, None]
    return {site: lambda value, mean=mean: np.where(keep, mean, value) for site, mean in means.items()}


class Direct:
    """Figures of dictionaries on passages."""

    def __init__(self, folder: Path, passages: list[list[int]]) -> None:
        self.plain, self.passages = Plain(folder), passages

    def mean(self, site: str) -> np.ndarray:
        return self.rows(site).mean(0)

    def rows(self, site: str) -> np.ndarray:
        return np.concatenate([self.plain.read(ids, [site])[site][counted(ids)] for ids in self.passages])

    def tokens(self) -> int:
        return sum(int(counted(ids).sum()) for ids in self.passages)

    def loss(self, changes: Callable[[list[int]], Mapping[str, Change]]) -> tuple[np.ndarray, np.ndarray]:
        """Per passage: summed loss of counted tokens that follow counted ones, and how many."""
        sums, counts = [], []
        for ids in self.passages:
            pair = counted(ids)[:-1] & counted(ids)[1:]
            sums.append(self.plain.losses(ids, changes(ids))[pair].sum())
            counts.append(pair.sum())
        return np.array(sums), np.array(counts)

    def figures(self, one: Told) -> dict[str, float]:
        read = [self.plain.read(ids, [*one.reads, *one.writes]) for ids in self.passages]
        keep = [counted(ids) for ids in self.passages]
        site = one.writes[one.position]
        target = np.concatenate([values[site][k] for values, k in zip(read, keep, strict=True)])
        made = np.concatenate([one.reconstruction(values)[k] for values, k in zip(read, keep, strict=True)])
        fired = [
            np.concatenate([one.features(values, position)[k] > 0 for values, k in zip(read, keep, strict=True)])
            for position in range(len(one.reads))
        ]
        error, energy = np.square(target - made).sum(1), np.square(target - target.mean(0)).sum(1)
        ordinary = np.argsort(energy)[: round(0.999 * len(energy))]
        lengths = np.linalg.norm(target, axis=1) * np.linalg.norm(made, axis=1)
        (clean, count), (with_it, _) = self.loss(lambda _: {}), self.loss(lambda ids: spliced([one], ids))
        mean = target.mean(0)
        without, _ = self.loss(lambda ids: ablated({site: mean}, ids))
        frequency = fired[one.position].mean(0)
        return {
            "tokens": len(target),
            "l0": fired[one.position].sum(1).mean(),
            "l0_all_layers": sum(found.sum(1).mean() for found in fired),
            "fvu": error.sum() / energy.sum(),
            "fvu_ordinary": error[ordinary].sum() / energy[ordinary].sum(),
            "cosine": ((target * made).sum(1) / lengths).mean(),
            "outlying_energy": 1 - energy[ordinary].sum() / energy.sum(),
            "clean": clean.sum() / count.sum(),
            "spliced": with_it.sum() / count.sum(),
            "ablated": without.sum() / count.sum(),
            "added": (with_it.sum() - clean.sum()) / count.sum(),
            "recovered": (without.sum() - with_it.sum()) / (without.sum() - clean.sum()),
            "dead": (frequency == 0).sum(),
            "dense": (frequency > 0.1).sum(),
        }
