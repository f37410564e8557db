"""What a dictionary is, before any weight is read: its kind, its sites and its sizes.

A multi-layer dictionary has one latent space per layer it reads; `width` is the size of one of them. Latents of the
layer at position i write to the sites from position i on, never to earlier ones.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inference.errors import BadInput
from inference.gemma.sites import Site

Kind = Literal["sae", "transcoder", "clt", "crosscoder"]
Layout = Literal["gemma_scope_2", "saelens"]
Architecture = Literal["jump_relu", "relu", "topk"]


@dataclass(frozen=True, kw_only=True)
class DictionarySpec:
    kind: Kind
    read: tuple[Site, ...]
    write: tuple[Site, ...]
    width: int
    """Features per layer that is read."""
    d_in: int
    d_out: int
    declared_l0: float | None
    skip: bool
    dtype: str
    """As stored: float32 or bfloat16."""
    folder: Path
    files: tuple[Path, ...]
    """One per layer that is read, in the order of `read`."""
    layout: Layout = "gemma_scope_2"
    architecture: Architecture = "jump_relu"
    k: int | None = None
    """Of a topk dictionary."""
    ranks_by_norm: bool = False
    """Of a topk dictionary: features are ranked by what they add, not by their raw value."""
    bias_in_input: bool = False
    """b_dec is subtracted from the input first; it is folded into b_enc when the encoder is loaded."""
    model_name: str | None = None
    """As the dictionary's own configuration spells it; not canonical."""
    name: str = ""
    """The last two parts of the folder."""
    declared_width: int | None = None
    named_affine: bool | None = None
    """Whether the folder's name promises a skip connection; None where the name says nothing."""
    remarks: tuple[str, ...] = ()
    """What was odd about the folder and did not stop it from being read."""

    @property
    def multi_layer(self) -> bool:
        return len(self.read) > 1 or self.kind in ("clt", "crosscoder")

    @property
    def layers(self) -> tuple[int, ...]:
        """The model's layers whose latents this dictionary has."""
        return tuple(site.layer for site in self.read)

    @property
    def total_width(self) -> int:
        return self.width * len(self.read)

    def position(self, layer: int | None) -> int:
        """Where a layer of the model stands among those that are read. None is fine where there is only one."""
        if layer is None:
            if len(self.read) == 1:
                return 0
            raise BadInput(
                f"{self.name or self.kind} has latents of layers {self._listed()}; say which layer is meant."
            )
        if layer not in self.layers:
            raise BadInput(f"{self.name or self.kind} has no latents of layer {layer}, but of {self._listed()}.")
        return self.layers.index(layer)

    def target(self, layer: int | None) -> int:
        """Where a layer of the model stands among those that are written."""
        written = [site.layer for site in self.write]
        if layer is None:
            if len(written) == 1:
                return 0
            raise BadInput(f"{self.name or self.kind} writes to layers {self._listed()}; say which layer is meant.")
        if layer not in written:
            raise BadInput(f"{self.name or self.kind} does not write to layer {layer}, but to {self._listed()}.")
        return written.index(layer)

    def _listed(self) -> str:
        return ", ".join(str(site.layer) for site in self.write)
