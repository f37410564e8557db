"""Sources of a request as opened dictionaries, and their encoding some rows at a time: [T, F] of a wide dictionary
would fill the memory."""

from collections.abc import Iterator, Sequence

from inference.engine import protocol
from inference.engine.holdings import Held
from inference.engine.memory import encode_bytes
from inference.engine.protocol import Source
from inference.engine.work import Values
from inference.engine.workshop import Workshop
from inference.errors import BadInput


def named_sources(request: protocol.Message) -> tuple[Source, ...]:
    """Every source that a request speaks of: they have to be open before it can be read."""
    match request:
        case protocol.Activations(columns=parts) | protocol.Ablate(columns=parts) | protocol.Score(splices=parts):
            return tuple(part.source for part in parts)
        case (
            protocol.TopFeatures(sources=sources)
            | protocol.SparseActivations(sources=sources)
            | protocol.Pooled(sources=sources)
        ):
            return sources
        case protocol.Encode(source=source) | protocol.DecoderRows(source=source) | protocol.Nearest(source=source):
            return (source,)
        case _:
            return ()


def held_sources(sources: Sequence[Source], workshop: Workshop) -> list[Held]:
    if not sources:
        raise BadInput("There is no source. Give at least one.")
    return [workshop.holdings.get(source) for source in sources]


def row_blocks(held: Sequence[Held], values: Values, workshop: Workshop) -> Iterator[slice]:
    """Runs of positions that are encoded at once."""
    length = len(next(iter(values.values())))
    step = workshop.rows_per_block(block_width(held))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def block_bytes(held: Sequence[Held], length: int, workshop: Workshop) -> int:
    """What encoding one block needs at its peak."""
    width = block_width(held)
    rows = min(length, workshop.rows_per_block(width))
    return encode_bytes(rows=rows, width=width, d_in=max(one.dictionary.spec.d_in for one in held))


def block_width(held: Sequence[Held]) -> int:
    """Features in memory at once: of multi-layer sources all, of the others one source's."""
    together = sum(one.width for one in held if one.dictionary.spec.multi_layer)
    return together + max((one.width for one in held if not one.dictionary.spec.multi_layer), default=0)
