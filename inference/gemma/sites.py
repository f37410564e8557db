"""The points of a Gemma 3 block that dictionaries read and write.

Where they lie in `transformers`' `Gemma3DecoderLayer`, in the order in which a pass reaches them:

    attn_out    input of self_attn.o_proj: the heads, concatenated, before W_O and before the norm that follows
    mlp_in      output of pre_feedforward_layernorm, its gain included
    mlp_out     output of post_feedforward_layernorm: exactly what is added to the residual stream
    resid_post  output of the layer; of the last layer too, before the final norm
"""

import re
from typing import NamedTuple

from inference.errors import BadInput

KINDS = ("resid_post", "attn_out", "mlp_in", "mlp_out")

ORDER_IN_LAYER = {"attn_out": 0, "mlp_in": 1, "mlp_out": 2, "resid_post": 3}

_WRITTEN = re.compile(rf"({'|'.join(KINDS)})\.(0|[1-9]\d{{0,3}})")


class Site(NamedTuple):
    """A kind of site in one layer, written `resid_post.12`."""

    kind: str
    layer: int

    def __str__(self) -> str:
        return f"{self.kind}.{self.layer}"

    @classmethod
    def parse(cls, text: str) -> "Site":
        match = _WRITTEN.fullmatch(text)
        if match is None:
            raise BadInput(
                f"{text[:80]!r} is not a site. A site is written as one of {', '.join(KINDS)}, a dot and a layer, "
                "for example resid_post.12."
            )
        return cls(match[1], int(match[2]))

    @property
    def depth(self) -> tuple[int, int]:
        """Sorts sites in the order in which a forward pass reaches them."""
        return self.layer, ORDER_IN_LAYER[self.kind]
