"""Everything that fires, of each source, at each token."""

from inference.engine.memory import readable
from inference.engine.operations.finite import checked
from inference.engine.operations.firing import Firing, firing, joined
from inference.engine.operations.sources import block_bytes, held_sources, row_blocks
from inference.engine.protocol import (
    EngineError,
    PromptSparse,
    Sparse,
    SparseActivations,
    SparseActivationsAnswer,
)
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop

BYTES_EACH = 12


def sparse_activations(request: SparseActivations, workshop: Workshop) -> Stages:
    prompts = workshop.read(request.prompts)
    held = held_sources(request.sources, workshop)
    count = Counter(workshop)

    def finish(values: Values) -> tuple[Sparse, ...]:
        answers = []
        for one in held:
            dictionary = workshop.holdings.with_encoder(one)
            parts = []
            for rows in row_blocks([one], values, workshop):
                features = dictionary.encode(values[one.read][rows], layer=one.source.layer)
                parts.append(firing(features, first_row=rows.start))
                count.add(len(parts[-1].values))
            answers.append(as_sparse(joined(parts)))
        return tuple(answers)

    items = [
        Item(
            key=workshop.key(prompt, request.precision),
            sites=frozenset(one.read for one in held),
            finish=finish,
            finish_bytes=max(block_bytes([one], len(prompt.ids), workshop) for one in held),
        )
        for prompt in prompts
    ]
    results = yield workshop.admit(items, answer_bytes=0)
    return SparseActivationsAnswer(
        provenance=workshop.provenance(request.precision),
        prompts=tuple(
            PromptSparse(tokens=prompt.tokens, sources=sources)
            for prompt, sources in zip(prompts, results, strict=True)
        ),
    )


def as_sparse(found: Firing) -> Sparse:
    checked([found.values], "features")
    return Sparse(rows=found.rows, indexes=found.indexes, values=found.values)


class Counter:
    """How large the answer has become: how much fires is known only when it has been computed."""

    def __init__(self, workshop: Workshop) -> None:
        self._limit = workshop.settings.max_answer_bytes
        self._bytes = 0

    def add(self, values: int) -> None:
        self._bytes += BYTES_EACH * values
        if self._bytes > self._limit:
            raise EngineError(
                "too_long",
                f"So much fires that the answer would take more than {readable(self._limit)}, the most that is sent "
                "at once. Ask for fewer prompts or sources.",
            )
