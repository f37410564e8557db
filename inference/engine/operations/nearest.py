"""Features that write in the direction of a vector: the greatest cosines with the decoder rows of a whole source.

Looked through some rows at a time, because a wide source's rows in float32 can be larger than the memory. Of equal
cosines the lower index comes first, so the answer does not depend on the size of these pieces."""

import numpy as np
import torch
from torch import Tensor

from inference.dictionaries.exact import product
from inference.engine.operations.encode import read_vectors
from inference.engine.operations.finite import checked
from inference.engine.protocol import Nearest, NearestAnswer
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop
from inference.errors import BadInput

Found = tuple[np.ndarray, np.ndarray]


def nearest(request: Nearest, workshop: Workshop) -> Stages:
    held = workshop.holdings.get(request.source)
    layer = request.source.layer
    spec = held.dictionary.spec
    targets = len(spec.write) - held.position if spec.multi_layer else 1
    length = spec.d_out * targets
    workshop.check_count("k", request.k)
    vectors = read_vectors(request.vectors, length, request.source.id, workshop, verb="writes")
    directions = units(vectors)
    k = min(request.k, held.width)
    step = min(held.width, workshop.rows_per_block(length))

    def finish(_: Values) -> Found:
        dictionary = workshop.holdings.with_decoder(held)
        parts = []
        for start in range(0, held.width, step):
            indexes = torch.arange(start, min(start + step, held.width))
            rows = dictionary.decoder_rows(indexes, layer=layer)
            norms = dictionary.norms(layer)[indexes].to(rows.device)
            found = product(directions.to(rows.device), rows.T)
            parts.append(torch.where(norms > 0, found / norms, 0.0).clamp_(-1.0, 1.0).cpu())
        cosines = torch.cat(parts, dim=1)
        checked([cosines.numpy()], "cosines")
        best = [strongest(row, k) for row in cosines]
        return np.stack([indexes for indexes, _ in best]), np.stack([values for _, values in best])

    count = len(vectors)
    size = 4 * (2 * step * length + 2 * count * held.width)
    (found,) = yield workshop.admit([Item(finish=finish, finish_bytes=size)], answer_bytes=count * k * 8)
    indexes, cosines = found
    return NearestAnswer(provenance=workshop.provenance("float32"), indexes=indexes, cosines=cosines)


def units(vectors: Tensor) -> Tensor:
    """Of length 1; scaled by the greatest entry first, so that squares neither overflow nor vanish."""
    greatest = vectors.abs().amax(dim=1, keepdim=True)
    zeros = (greatest == 0).flatten().nonzero()
    if len(zeros):
        raise BadInput(f"Vector {int(zeros[0])} is all zeros: it has no direction, and so no cosine with anything.")
    scaled = vectors / greatest
    lengths: Tensor = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    return scaled / lengths


def strongest(cosines: Tensor, k: int) -> Found:
    """Indexes int32 [k] and values float32 [k], greatest first, of equals the lower index first."""
    least = torch.topk(cosines, k).values[-1]
    candidates = (cosines >= least).nonzero().flatten()
    order = torch.sort(cosines[candidates], descending=True, stable=True).indices[:k]
    chosen = candidates[order]
    return chosen.numpy().astype(np.int32), cosines[chosen].numpy()
