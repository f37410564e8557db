"""Whether a dictionary reads as many numbers as its model has where it reads them."""

from app.catalogue.view import Probed
from gemmascope.models import MODELS, Model
from inference.errors import BadInput


def misfits(model: str, probed: Probed) -> list[str]:
    """What is odd about it, in sentences. One of another Gemma 3 is refused; a width that none has may be that of a
    checkpoint of a person's own."""
    if probed.d_in is None:
        return []
    site = probed.reads[0]
    width = _width(MODELS[model], site)
    if probed.d_in == width:
        return []
    said = f"It reads {probed.d_in:,} numbers at {site}, and {model} has {width:,} there"
    of = [other.id for other in MODELS.values() if _width(other, site) == probed.d_in]
    if of:
        raise BadInput(f"{said}: it is of {' or '.join(of)}. Say so with --model.")
    return [f"{said}."]


def _width(model: Model, site: str) -> int:
    return model.attn_width if site.startswith("attn_out.") else model.d_model
