"""A source's features for vectors that the caller brings."""

import numpy as np
import torch

from inference.engine.memory import readable
from inference.engine.operations.firing import firing, joined
from inference.engine.operations.sources import block_bytes
from inference.engine.operations.sparse import Counter, as_sparse
from inference.engine.protocol import Encode, EncodeAnswer, Sparse
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop
from inference.errors import BadInput


def encode(request: Encode, workshop: Workshop) -> Stages:
    held = workshop.holdings.get(request.source)
    vectors = read_vectors(request.vectors, held.dictionary.spec.d_in, request.source.id, workshop)
    count = Counter(workshop)

    def finish(_: Values) -> Sparse:
        dictionary = workshop.holdings.with_encoder(held)
        step = workshop.rows_per_block(held.width)
        parts = []
        for start in range(0, len(vectors), step):
            features = dictionary.encode(vectors[start : start + step], layer=request.source.layer)
            parts.append(firing(features, first_row=start))
            count.add(len(parts[-1].values))
        return as_sparse(joined(parts))

    item = Item(finish=finish, finish_bytes=block_bytes([held], len(vectors), workshop))
    (features,) = yield workshop.admit([item], answer_bytes=0)
    return EncodeAnswer(provenance=workshop.provenance("float32"), features=features)


def read_vectors(
    vectors: np.ndarray, width: int, name: str, workshop: Workshop, *, verb: str = "reads"
) -> torch.Tensor:
    """Float32 [n, width], or the sentence that says what is wrong with them."""
    if vectors.ndim != 2 or vectors.shape[1] != width or len(vectors) == 0:
        raise BadInput(
            f"{name} {verb} rows of {width} numbers, at least one; the vectors given have shape {list(vectors.shape)}."
        )
    if vectors.dtype.kind not in "fiu":
        raise BadInput(f"The vectors are of type {vectors.dtype}; numbers, best as float32, would be right.")
    if vectors.nbytes > workshop.room.work_bytes:
        raise BadInput(f"The vectors take {readable(vectors.nbytes)}; send them in smaller parts.")
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(vectors, dtype=np.float32)
    if not np.isfinite(numbers).all():
        row = int(np.argwhere(~np.isfinite(numbers))[0, 0])
        raise BadInput(f"Vector {row} has a value that is not finite in float32.")
    return torch.tensor(numbers)
