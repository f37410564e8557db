"""What the model would say next, as it is and with some features switched off.

A feature that is off adds nothing: its activation along its decoder row is subtracted from what its source writes, at
every token where it fires. The rest of the site, with all that the dictionary leaves unexplained, stays."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from inference.dictionaries.single import unfold
from inference.engine.holdings import Held
from inference.engine.memory import KEPT_BYTES, encode_bytes, logits_bytes, pass_bytes
from inference.engine.operations.activations import check_indexes
from inference.engine.operations.finite import checked
from inference.engine.operations.logits import block_rows, logits_in_blocks, next_token_losses
from inference.engine.operations.sites import last_site
from inference.engine.protocol import Ablate, AblateAnswer
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop
from inference.errors import BadInput
from inference.gemma.hooks import Watcher
from inference.gemma.sites import Site


class Off(NamedTuple):
    """Features of one source that are switched off."""

    held: Held
    indexes: tuple[int, ...]

    @property
    def writes(self) -> tuple[Site, ...]:
        return self.held.dictionary.write_sites(self.held.source.layer)


class Found(NamedTuple):
    ids: Tensor
    clean: Tensor
    ablated: Tensor
    losses: tuple[np.ndarray, np.ndarray]
    removed: tuple[np.ndarray, ...]


def ablate(request: Ablate, workshop: Workshop) -> Stages:
    (prompt,) = workshop.read((request.prompt,))
    workshop.check_count("k", request.k)
    if not request.columns:
        raise BadInput("There is no feature to switch off. Give at least one source with at least one index.")
    offs = [Off(workshop.holdings.get(columns.source), columns.indexes) for columns in request.columns]
    for off in offs:
        check_indexes(off.held, off.indexes)
        if len(set(off.indexes)) < len(off.indexes):
            raise BadInput(f"A feature of {off.held.source.id} is switched off twice. Name each one once.")
    last = len(prompt.ids) - 1
    position = last if request.position is None else request.position
    if not 0 <= position <= last:
        raise BadInput(f"position is {position}; the prompt has {last + 1} tokens, 0 to {last}.")
    site = last_site(workshop)
    dtype = workshop.trunks.dtype_of(request.precision)
    ids = torch.tensor(prompt.ids)

    def finish(values: Values) -> Found:
        changed = AblatedPass(offs, prompt.tokens.untrained, workshop)
        workshop.passes.forwards += 1
        resid = workshop.trunks.get(dtype).read_sites(ids[None], [site], edits=changed.edits())[site][0]
        both = [
            next(logits_in_blocks(one[position : position + 1], workshop, dtype))[1][0] for one in (values[site], resid)
        ]
        losses = [next_token_losses(one, ids, workshop, dtype).numpy() for one in (values[site], resid)]
        checked(losses, "the loss")
        tokens, clean, ablated = compared(*both, k=min(request.k, workshop.shape.vocabulary))
        return Found(tokens, clean, ablated, (losses[0], losses[1]), changed.removed())

    item = Item(
        key=workshop.key(prompt, request.precision),
        sites=frozenset([site]),
        finish=finish,
        finish_bytes=ablated_bytes(offs, len(prompt.ids), workshop),
    )
    ((tokens, clean, ablated, losses, removed),) = yield workshop.admit([item], answer_bytes=0)
    return AblateAnswer(
        provenance=workshop.provenance(request.precision),
        tokens=prompt.tokens,
        ids=tokens.numpy().astype(np.int32),
        pieces=tuple(workshop.tokenizer.pieces([token])[0] for token in tokens.tolist()),
        clean=clean.numpy(),
        ablated=ablated.numpy(),
        clean_losses=losses[0],
        ablated_losses=losses[1],
        removed=removed,
    )


def compared(clean: Tensor, ablated: Tensor, *, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k likeliest tokens of each pass, [n] with k <= n <= 2k, and both passes' probabilities of them."""
    probabilities = torch.stack([torch.softmax(clean, -1), torch.softmax(ablated, -1)])
    ids = torch.unique(torch.topk(probabilities, k, dim=-1).indices)
    chosen = probabilities[:, ids]
    order = torch.argsort(chosen.amax(0), descending=True, stable=True)
    first, second = chosen[:, order].cpu()
    return ids[order].cpu(), first, second


class AblatedPass:
    """The edits of one pass over one prompt. Used once."""

    def __init__(self, offs: Sequence[Off], untrained: int, workshop: Workshop) -> None:
        self._offs = offs
        self._untrained = untrained
        self._workshop = workshop
        self._values: dict[int, Tensor] = {}
        """By the number of its `Off`: folded activations [T, n], zero where nothing is taken away."""

    def edits(self) -> dict[Site, Watcher]:
        sites = {site for off in self._offs for site in (off.held.read, *off.writes)}
        return {site: self._watcher(site) for site in sites}

    def removed(self) -> tuple[np.ndarray, ...]:
        return checked((self._values[number].cpu().numpy() for number in range(len(self._offs))), "features")

    def _watcher(self, site: Site) -> Watcher:
        def watch(value: Tensor) -> Tensor | None:
            # Everything is read before anything here is changed, so sources of one site do not hide each other.
            for number, off in enumerate(self._offs):
                if off.held.read == site:
                    self._values[number] = self._active(off, value[0])
            taken = [self._added(number, site) for number, off in enumerate(self._offs) if site in off.writes]
            if not taken:
                return None
            return (value.float() - torch.stack(taken).sum(0).to(value.device)).to(value)

        return watch

    def _active(self, off: Off, x: Tensor) -> Tensor:
        held = off.held
        dictionary = self._workshop.holdings.with_encoder(held, columns=len(off.indexes))
        values = dictionary.encode(x, layer=held.source.layer, columns=torch.tensor(off.indexes))
        values[: self._untrained] = 0.0
        return values

    def _added(self, number: int, site: Site) -> Tensor:
        """What the features of one source add to a site: [T, width]."""
        held, indexes = self._offs[number].held, torch.tensor(self._offs[number].indexes)
        dictionary, values = held.dictionary, self._values[number]
        rows = dictionary.decoder_rows(indexes, layer=held.source.layer, target=site.layer)
        norms = dictionary.norms(held.source.layer)[indexes]
        return unfold(values, norms.to(values.device)).to(rows.device) @ rows


def ablated_bytes(offs: Sequence[Off], length: int, workshop: Workshop) -> int:
    """The changed pass, the encodings that it keeps, and what comes of it."""
    shape = workshop.shape
    encoded = max(
        encode_bytes(rows=length, width=len(off.indexes), d_in=off.held.dictionary.spec.d_in)
        if off.held.dictionary.spec.architecture != "topk"
        else encode_bytes(rows=length, width=off.held.width, d_in=off.held.dictionary.spec.d_in)
        for off in offs
    )
    kept = sum(4 * length * len(off.indexes) for off in offs)
    logits = logits_bytes(rows=block_rows(workshop), vocabulary=shape.vocabulary)
    return (
        KEPT_BYTES + pass_bytes(shape, prompts=1, length=length, site_widths=[shape.d_model]) + encoded + kept + logits
    )
