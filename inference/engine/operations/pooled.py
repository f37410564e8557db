"""What fires in whole prompts: one number per feature, pooled on the device over the tokens that dictionaries were
trained on, or read at one of them. Hundreds of prompts then fit in one answer."""

import numpy as np
import torch
from torch import Tensor

from inference.engine.holdings import Held
from inference.engine.operations.finite import checked
from inference.engine.operations.sources import block_bytes, held_sources, row_blocks
from inference.engine.operations.sparse import Counter
from inference.engine.prompts import ReadPrompt
from inference.engine.protocol import Pooled, PooledAnswer, PooledFeatures, PromptPooled
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop
from inference.errors import BadInput
from inference.gemma.tokens import Tokenizer


def pooled(request: Pooled, workshop: Workshop) -> Stages:
    prompts = workshop.read(request.prompts)
    held = held_sources(request.sources, workshop)
    ranges = [
        positions(prompt, request, number=number if len(prompts) > 1 else None)
        for number, prompt in enumerate(prompts, 1)
    ]
    count = Counter(workshop)

    def item(prompt: ReadPrompt, where: range) -> Item:
        def finish(values: Values) -> tuple[PooledFeatures, ...]:
            kept = {site: value[where.start : where.stop] for site, value in values.items()}
            answers = []
            for one in held:
                answers.append(pool(one, kept, workshop, first=where.start, mean=request.pooling == "mean"))
                count.add(len(answers[-1].indexes))
            return tuple(answers)

        return Item(
            key=workshop.key(prompt, request.precision),
            sites=frozenset(one.read for one in held),
            finish=finish,
            finish_bytes=max(block_bytes([one], len(where), workshop) + 32 * one.width for one in held),
        )

    items = [item(prompt, where) for prompt, where in zip(prompts, ranges, strict=True)]
    results = yield workshop.admit(items, answer_bytes=0)
    return PooledAnswer(
        provenance=workshop.provenance(request.precision),
        prompts=tuple(
            PromptPooled(tokens=len(prompt.ids), first=where.start, counted=len(where), sources=sources)
            for prompt, where, sources in zip(prompts, ranges, results, strict=True)
        ),
    )


def pool(one: Held, values: Values, workshop: Workshop, *, first: int, mean: bool) -> PooledFeatures:
    """Greatest (or mean) value of each feature over these rows, and where it is greatest; the earliest of equals."""
    dictionary = workshop.holdings.with_encoder(one)
    greatest: Tensor | None = None
    places = sums = torch.empty(0)
    length = len(values[one.read])
    for rows in row_blocks([one], values, workshop):
        features = dictionary.encode(values[one.read][rows], layer=one.source.layer)
        here, at = features.max(dim=0)
        at = at + (first + rows.start)
        total = features.sum(dim=0, dtype=torch.float64) if mean and features.device.type != "mps" else features.sum(0)
        if greatest is None:
            greatest, places, sums = here, at, total
        else:
            later = here > greatest
            greatest, places = torch.where(later, here, greatest), torch.where(later, at, places)
            sums = sums + total
    assert greatest is not None
    (indexes,) = greatest.nonzero(as_tuple=True)
    kept = (sums[indexes] / length).float() if mean else greatest[indexes]
    found = kept.cpu().numpy()
    checked([found], "features")
    return PooledFeatures(
        indexes=indexes.cpu().numpy().astype(np.int32),
        values=found,
        positions=places[indexes].cpu().numpy().astype(np.int32),
    )


def positions(prompt: ReadPrompt, request: Pooled, *, number: int | None) -> range:
    """The tokens of a prompt that are pooled. `number` names the prompt where there are several."""
    tokenizer, ids = prompt.tokenizer, prompt.ids
    trained = range(tokenizer.untrained(ids), len(ids))
    which = "The prompt" if number is None else f"Prompt {number}"
    if not trained:
        raise BadInput(f"{which} has no token that dictionaries were trained on. Write some text.")
    match request.pooling:
        case "max" | "mean":
            return trained
        case "position":
            if request.from_end < 1:
                raise BadInput(f"from_end is {request.from_end}; 1 is the last token, 2 the one before it.")
            at = len(ids) - request.from_end
            if at < trained.start:
                raise BadInput(
                    f"{which} has {len(trained)} tokens that dictionaries were trained on, so there is no "
                    f"{request.from_end}th from its end."
                )
        case "user_turn":
            at = end_of_user_turn(ids, tokenizer)
            if at < trained.start:
                raise BadInput(f"{which} has no turn of the user that says anything. Give it as a chat.")
    return range(at, at + 1)


def end_of_user_turn(ids: tuple[int, ...], tokenizer: Tokenizer) -> int:
    """Where the last turn of the user says its last token; -1 where there is no such turn."""
    user = tokenizer.header_of_user
    for start in range(len(ids) - len(user), -1, -1):
        if ids[start : start + len(user)] == user:
            says = start + len(user)
            end = next((at for at in range(says, len(ids)) if ids[at] == tokenizer.end_of_turn), len(ids))
            return end - 1 if end > says else -1
    return -1
