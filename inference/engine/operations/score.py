"""The loss of each next token, as the model is and with sources spliced in, all of them at once.

`mean` replaces a site by its mean over the request's own prompts, in the clean pass, without the positions that
dictionaries were not trained on: the baseline against which a reconstruction is worth something."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from inference.engine.memory import KEPT_BYTES, encode_bytes, logits_bytes, pass_bytes
from inference.engine.operations.finite import checked
from inference.engine.operations.logits import block_rows, next_token_losses
from inference.engine.operations.sites import last_site
from inference.engine.operations.splicing import HeldSplice, SplicedPass, held_splices
from inference.engine.prompts import ReadPrompt
from inference.engine.protocol import PromptScore, Score, ScoreAnswer
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop
from inference.gemma.sites import Site


class Clean(NamedTuple):
    losses: np.ndarray
    sums: dict[Site, Tensor]
    """Over the positions that count, float64 [width]."""


def score(request: Score, workshop: Workshop) -> Stages:
    prompts = workshop.read(request.prompts)
    splices = held_splices(request.splices, workshop)
    dtype = workshop.trunks.dtype_of(request.precision)
    site = last_site(workshop)
    mean_sites = [one.held.write for one in splices if one.mean]
    logits = logits_bytes(rows=block_rows(workshop), vocabulary=workshop.shape.vocabulary)

    def clean_item(prompt: ReadPrompt) -> Item:
        def finish(values: Values) -> Clean:
            ids = torch.tensor(prompt.ids)
            (losses,) = checked([next_token_losses(values[site], ids, workshop, dtype).numpy()], "the loss")
            untrained = prompt.tokens.untrained
            return Clean(losses, {one: values[one][untrained:].double().sum(0) for one in mean_sites})

        return Item(
            key=workshop.key(prompt, request.precision),
            sites=frozenset([site, *mean_sites]),
            finish=finish,
            finish_bytes=logits,
        )

    def spliced_item(prompt: ReadPrompt, means: dict[Site, Tensor]) -> Item:
        def finish(_: Values) -> np.ndarray:
            spliced = SplicedPass(splices, means, prompt.tokens.untrained, workshop)
            ids = torch.tensor(prompt.ids)
            workshop.passes.forwards += 1
            model = workshop.trunks.get(dtype)
            resid = model.read_sites(ids[None], [site], edits=spliced.edits())[site][0]
            return checked([next_token_losses(resid, ids, workshop, dtype).numpy()], "the spliced loss")[0]

        return Item(finish=finish, finish_bytes=spliced_bytes(splices, len(prompt.ids), workshop) + logits)

    rows = sum(len(prompt.ids) for prompt in prompts)
    cleans: list[Clean] = yield workshop.admit([clean_item(prompt) for prompt in prompts], answer_bytes=rows * 8)
    spliced: list[np.ndarray] | list[None] = [None] * len(prompts)
    if splices:
        counted = max(1, sum(max(0, len(prompt.ids) - prompt.tokens.untrained) for prompt in prompts))
        means = {one: torch.stack([clean.sums[one] for clean in cleans]).sum(0) / counted for one in mean_sites}
        spliced = yield workshop.admit([spliced_item(prompt, means) for prompt in prompts], answer_bytes=0)
    return ScoreAnswer(
        provenance=workshop.provenance(request.precision),
        prompts=tuple(
            PromptScore(tokens=prompt.tokens, clean=clean.losses, spliced=loss)
            for prompt, clean, loss in zip(prompts, cleans, spliced, strict=True)
        ),
    )


def spliced_bytes(splices: list[HeldSplice], length: int, workshop: Workshop) -> int:
    """One pass with its edits: the reads they keep, one encoding at a time, and cross-layer features all along."""
    shape = workshop.shape
    specs = [one.held.dictionary.spec for one in splices if not one.mean]
    kept = sum(length * spec.d_in * shape.itemsize for spec in specs)
    multi = sum(4 * length * spec.total_width for spec in {spec for spec in specs if spec.multi_layer})
    single = max((encode_bytes(rows=length, width=spec.width, d_in=spec.d_in) for spec in specs), default=0)
    return KEPT_BYTES + pass_bytes(shape, prompts=1, length=length, site_widths=[shape.d_model]) + kept + multi + single
