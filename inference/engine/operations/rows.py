"""Directions of features: what they write, or what they look for."""

import numpy as np
import torch

from inference.engine.operations.activations import check_indexes
from inference.engine.operations.finite import checked
from inference.engine.protocol import DecoderRows, DecoderRowsAnswer
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop

Found = tuple[np.ndarray, np.ndarray]


def decoder_rows(request: DecoderRows, workshop: Workshop) -> Stages:
    """Decoder side: unit rows, so that a feature's activation is the length it adds along them. Encoder side: columns
    times the norm, so that their product with the input is in the unit of activations."""
    held = workshop.holdings.get(request.source)
    check_indexes(held, request.indexes)
    layer = request.source.layer
    spec = held.dictionary.spec
    targets = len(spec.write) - held.position if spec.multi_layer else 1
    width = spec.d_out * targets if request.side == "decoder" else spec.d_in

    def finish(_: Values) -> Found:
        indexes = torch.tensor(request.indexes)
        norms = held.dictionary.norms(layer)[indexes]
        if request.side == "decoder":
            raw = held.dictionary.decoder_rows(indexes, layer=layer).cpu()
            rows = torch.where(norms[:, None] > 0, raw / norms[:, None], 0.0)
        else:
            rows = held.dictionary.encoder_columns(indexes, layer=layer).cpu() * norms[:, None]
        found = rows.numpy(), norms.numpy()
        checked(found, "directions")
        return found

    size = 4 * len(request.indexes) * width
    (found,) = yield workshop.admit([Item(finish=finish, finish_bytes=3 * size)], answer_bytes=size)
    rows, norms = found
    return DecoderRowsAnswer(
        provenance=workshop.provenance("float32"),
        rows=rows,
        norms=norms,
        write_sites=tuple(str(site) for site in held.dictionary.write_sites(layer)),
    )
