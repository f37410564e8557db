"""The values of chosen features at every token: the cheapest question, as it computes only the columns asked for."""

import numpy as np
import torch

from inference.engine.holdings import Held
from inference.engine.memory import encode_bytes
from inference.engine.operations.finite import checked
from inference.engine.protocol import Activations, ActivationsAnswer, PromptActivations
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop
from inference.errors import BadInput


def activations(request: Activations, workshop: Workshop) -> Stages:
    prompts = workshop.read(request.prompts)
    if not request.columns:
        raise BadInput("There is no feature to show. Give at least one source with at least one index.")
    wanted = [(workshop.holdings.get(columns.source), columns.indexes) for columns in request.columns]
    for held, indexes in wanted:
        check_indexes(held, indexes)

    def finish(values: Values) -> tuple[np.ndarray, ...]:
        found = []
        for held, indexes in wanted:
            dictionary = workshop.holdings.with_encoder(held, columns=len(indexes))
            features = dictionary.encode(values[held.read], layer=held.source.layer, columns=torch.tensor(indexes))
            found.append(features.cpu().numpy())
        return checked(found, "features")

    count = sum(len(indexes) for _, indexes in wanted)
    items = [
        Item(
            key=workshop.key(prompt, request.precision),
            sites=frozenset(held.read for held, _ in wanted),
            finish=finish,
            finish_bytes=sum(
                encode_bytes(rows=len(prompt.ids), width=len(indexes), d_in=held.dictionary.spec.d_in)
                + 4 * held.dictionary.spec.d_in * len(indexes)
                for held, indexes in wanted
            ),
        )
        for prompt in prompts
    ]
    rows = sum(len(prompt.ids) for prompt in prompts)
    results = yield workshop.admit(items, answer_bytes=rows * count * 4)
    return ActivationsAnswer(
        provenance=workshop.provenance(request.precision),
        prompts=tuple(
            PromptActivations(tokens=prompt.tokens, values=values)
            for prompt, values in zip(prompts, results, strict=True)
        ),
    )


def check_indexes(held: Held, indexes: tuple[int, ...]) -> None:
    """Refuse indexes that the source does not have."""
    if not indexes:
        raise BadInput(f"No feature of {held.source.id} is named. Give at least one index.")
    wrong = next((index for index in indexes if not 0 <= index < held.width), None)
    if wrong is not None:
        raise BadInput(f"{held.source.id} has no feature {wrong}; its indexes go from 0 to {held.width - 1}.")
