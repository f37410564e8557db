"""After each token, the tokens that the model finds most likely."""

import numpy as np
import torch
from torch import Tensor

from inference.engine.memory import logits_bytes
from inference.engine.operations.finite import checked
from inference.engine.operations.logits import block_rows, logits_in_blocks
from inference.engine.operations.sites import last_site
from inference.engine.protocol import NextTokens, NextTokensAnswer, PromptNext
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop

Found = tuple[np.ndarray, np.ndarray]


def next_tokens(request: NextTokens, workshop: Workshop) -> Stages:
    prompts = workshop.read(request.prompts)
    workshop.check_count("k", request.k)
    site = last_site(workshop)
    dtype = workshop.trunks.dtype_of(request.precision)
    k = min(request.k, workshop.shape.vocabulary)

    def finish(values: Values) -> Found:
        resid = values[site]
        found = likeliest(resid[-1:] if request.last_only else resid, k, workshop, dtype)
        checked(found[1:], "next tokens")
        return found

    needed = logits_bytes(rows=block_rows(workshop), vocabulary=workshop.shape.vocabulary)
    items = [
        Item(key=workshop.key(prompt, request.precision), sites=frozenset([site]), finish=finish, finish_bytes=needed)
        for prompt in prompts
    ]
    rows = sum(1 if request.last_only else len(prompt.ids) for prompt in prompts)
    results: list[Found] = yield workshop.admit(items, answer_bytes=rows * k * 16)
    return NextTokensAnswer(
        provenance=workshop.provenance(request.precision),
        prompts=tuple(
            PromptNext(tokens=prompt.tokens, ids=ids, probabilities=probabilities, pieces=pieces(ids, workshop))
            for prompt, (ids, probabilities) in zip(prompts, results, strict=True)
        ),
    )


def likeliest(resid: Tensor, k: int, workshop: Workshop, dtype: str) -> Found:
    """Ids int32 [T, k] and their probabilities."""
    ids = np.empty((len(resid), k), dtype=np.int32)
    probabilities = np.empty((len(resid), k), dtype=np.float32)
    for rows, logits in logits_in_blocks(resid, workshop, dtype):
        top = torch.topk(logits, k, dim=-1)
        normaliser = torch.logsumexp(logits, dim=-1, keepdim=True)
        ids[rows] = top.indices.cpu().numpy()
        probabilities[rows] = (top.values - normaliser).exp().cpu().numpy()
    return ids, probabilities


def pieces(ids: np.ndarray, workshop: Workshop) -> tuple[tuple[str, ...], ...]:
    """Each token's own text: they are alternatives, so no character is put together from them."""
    text = {token: workshop.tokenizer.pieces([token])[0] for token in np.unique(ids).tolist()}
    return tuple(tuple(text[token] for token in row) for row in ids.tolist())
