"""One layer's weights file, under one set of names, checked for form.

Gemma Scope 2 and SAELens store the same five tensors under different names, and the skip connection transposed.
Nothing beyond this file knows of the difference. Sizes are believed from the tensors, never from a configuration.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from inference.dictionaries.files import DTYPES, TensorFile
from inference.dictionaries.spec import Layout
from inference.errors import BadInput


@dataclass(frozen=True)
class Names:
    w_enc: str
    b_enc: str
    threshold: str
    w_dec: str
    b_dec: str
    skip: str
    skip_is_transposed: bool
    """Stored [d_out, d_in]."""


NAMES: dict[Layout, Names] = {
    "gemma_scope_2": Names("w_enc", "b_enc", "threshold", "w_dec", "b_dec", "affine_skip_connection", False),
    "saelens": Names("W_enc", "b_enc", "threshold", "W_dec", "b_dec", "W_skip", True),
}


class WeightsFile:
    """The tensors of one layer as mapped views; `targets` is None unless w_dec writes to several layers."""

    def __init__(self, path: Path, *, layout: Layout, thresholds: bool = True) -> None:
        self.path = path
        self.names = NAMES[layout]
        self.file = TensorFile(path)
        self.has_threshold = thresholds
        self._check_names()
        self._check_dtypes()
        shape = self.file.shapes
        self.d_in, self.width = self._expect(self.names.w_enc, ("d_in", "features"))
        decoder = shape[self.names.w_dec]
        axes = ("features", "targets", "d_out") if len(decoder) == 3 else ("features", "d_out")
        self._expect(self.names.w_dec, axes)
        self.targets = decoder[1] if len(decoder) == 3 else None
        self.d_out = decoder[-1]
        self._check_shapes()
        self._check_vectors()

    @property
    def skip(self) -> bool:
        return self.names.skip in self.file.shapes

    @property
    def dtype(self) -> str:
        return DTYPES[self.file.dtypes[self.names.w_enc]]

    @property
    def unknown(self) -> list[str]:
        """Tensors that are neither asked for nor explained."""
        known = {getattr(self.names, field) for field in ("w_enc", "b_enc", "w_dec", "b_dec", "skip", "threshold")}
        return sorted(set(self.file.shapes) - known)

    def w_enc(self) -> Tensor:
        return self.file.tensor(self.names.w_enc)

    def w_dec(self) -> Tensor:
        return self.file.tensor(self.names.w_dec)

    def b_enc(self) -> Tensor:
        return self.file.tensor(self.names.b_enc).to(torch.float32)

    def b_dec(self) -> Tensor:
        return self.file.tensor(self.names.b_dec).to(torch.float32)

    def threshold(self) -> Tensor:
        return self.file.tensor(self.names.threshold).to(torch.float32)

    def skip_connection(self) -> Tensor:
        """[d_in, d_out]"""
        stored = self.file.tensor(self.names.skip)
        return stored.T if self.names.skip_is_transposed else stored

    def _check_names(self) -> None:
        needed = [self.names.w_enc, self.names.b_enc, self.names.w_dec, self.names.b_dec]
        if self.has_threshold:
            needed.insert(2, self.names.threshold)
        missing = [name for name in needed if name not in self.file.shapes]
        if missing:
            found = ", ".join(sorted(self.file.shapes)[:12]) or "none"
            raise BadInput(
                f"{self.path} lacks the tensor {missing[0]}; {', '.join(needed)} are needed, and it has {found}."
            )

    def _check_dtypes(self) -> None:
        for name, dtype in self.file.dtypes.items():
            if dtype not in DTYPES and name not in self.unknown:
                raise BadInput(f"{self.path}: {name} is stored as {dtype}; float32 or bfloat16 would be right.")

    def _expect(self, name: str, axes: tuple[str, ...]) -> tuple[int, ...]:
        shape = self.file.shapes[name]
        if len(shape) != len(axes) or 0 in shape:
            raise BadInput(f"{self.path}: {name} has shape {list(shape)}; [{', '.join(axes)}] would be right.")
        return shape

    def _check_shapes(self) -> None:
        names, (d_in, width, d_out) = self.names, (self.d_in, self.width, self.d_out)
        right: dict[str, tuple[int, ...]] = {
            names.b_enc: (width,),
            names.w_dec: (width, *self.file.shapes[names.w_dec][1:]),
            names.b_dec: (d_out,),
        }
        if self.has_threshold:
            right[names.threshold] = (width,)
        if self.skip:
            right[names.skip] = (d_out, d_in) if names.skip_is_transposed else (d_in, d_out)
        for name, shape in right.items():
            if self.file.shapes[name] != shape:
                raise BadInput(
                    f"{self.path}: {name} has shape {list(self.file.shapes[name])}; {list(shape)} would be right, "
                    f"because {names.w_enc} is [{d_in}, {width}] and {names.w_dec} ends in {d_out}."
                )

    def _check_vectors(self) -> None:
        names = self.names
        vectors = [names.b_enc, names.b_dec, *([names.threshold] if self.has_threshold else [])]
        for name in vectors:
            refuse_not_finite(self.file.tensor(name), path=self.path, name=name)
        if self.has_threshold:
            threshold = self.threshold()
            lowest = int(threshold.argmin())
            if threshold[lowest] < 0:
                raise BadInput(
                    f"{self.path}: {names.threshold} is {threshold[lowest]:g} at feature {lowest}; thresholds of a "
                    "JumpReLU are never negative."
                )


def refuse_not_finite(tensor: Tensor, *, path: Path, name: str, first_row: int = 0) -> None:
    """A finite sum means finite values, and takes no memory; only where it is not are they looked at one by one."""
    if torch.isfinite(tensor.sum()):
        return
    where = (~torch.isfinite(tensor)).nonzero()
    if len(where) == 0:
        return
    place = where[0].tolist()
    value = float(tensor[tuple(place)])
    place[0] += first_row
    raise BadInput(f"{path}: {name} is {value} at {place}; every value must be finite.")
