"""A dictionary as everything else uses it: the same few verbs for every kind.

Features are folded wherever they cross this boundary: raw activation times the length of the decoder row. Layers are
the model's layer numbers; where a dictionary has one layer they may be left out. Results are float32 and lie where the
weights lie: on the device if the part was loaded to it, else on the CPU.

Residency is driven from outside, by whoever has a budget: `parts`, `bytes_of`, `to_device`, `drop`, `state`.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from inference.dictionaries import multi, single
from inference.dictionaries.derived import Derived
from inference.dictionaries.folder import open_folder
from inference.dictionaries.layer import Layer, Side, State
from inference.errors import BadInput
from inference.gemma.hashes import combined_sha256
from inference.gemma.sites import Site


class Part(NamedTuple):
    """What is loaded and dropped in one piece."""

    side: Side
    layer: int


class Dictionary:
    def __init__(self, folder: Path, *, home: Path | None = None) -> None:
        """Open a folder. What is computed once (norms, hashes) is kept under `home`, if there is one."""
        self.spec, weights = open_folder(folder)
        self._derived = Derived(home)
        self._layers = tuple(
            Layer(self.spec, one, position=position, derived=self._derived) for position, one in enumerate(weights)
        )

    def __repr__(self) -> str:
        return f"<Dictionary {self.spec.kind} {self.spec.name} of {self.spec.total_width} features>"

    @cached_property
    def sha256(self) -> str:
        """Of the weights file; of several, of what `sha256sum` prints for them, sorted by name."""
        return combined_sha256({file.name: self._derived.sha256(file) for file in self.spec.files})

    # --- features -------------------------------------------------------------------------------------------------

    def encode(self, x: Tensor, *, layer: int | None = None, columns: Tensor | None = None) -> Tensor:
        """Folded features [N, F] of x [N, d_in], or [N, n] of chosen columns, at the cost of those columns."""
        one = self._at(layer)
        x = self._input(x, one)
        part = one.encoder
        if columns is None:
            return single.encode(x, part.w_enc, part.b_enc, part.activation, norms=part.norms)
        columns = self._indexes(columns, x.device)
        if not part.activation.separable:
            return single.encode(x, part.w_enc, part.b_enc, part.activation, norms=part.norms)[:, columns]
        activation = part.activation.select(columns)
        return single.encode(x, one.columns(columns), part.b_enc[columns], activation, norms=part.norms[columns])

    def encode_in_ranges(
        self, x: Tensor, *, features_at_once: int, layer: int | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """(first index, folded features) range by range, for reductions that must not hold all of [N, F]."""
        one = self._at(layer)
        x = self._input(x, one)
        part = one.encoder
        step = features_at_once if part.activation.separable else self.spec.width
        for start in range(0, self.spec.width, step):
            chosen = slice(start, start + step)
            activation = part.activation.select(chosen) if part.activation.separable else part.activation
            yield (
                start,
                single.encode(x, part.w_enc[:, chosen], part.b_enc[chosen], activation, norms=part.norms[chosen]),
            )

    def decode(
        self,
        features: Tensor | Mapping[int, Tensor],
        *,
        layer: int | None = None,
        x: Tensor | None = None,
        with_skip: bool = True,
    ) -> Tensor:
        """The reconstruction [N, d_out] of the site written at `layer`, from folded features [N, F].

        A multi-layer dictionary needs the features of every layer it reads up to that one, by layer. `x` is what was
        read at `layer`; a skip connection needs it."""
        target = self.spec.target(layer)
        last = self._layers[target].decoder
        given = {self.spec.layers[target]: features} if isinstance(features, Tensor) else features
        if not self.spec.multi_layer:
            result = single.decode(self._features(given, target), last.w_dec, norms=last.norms)
        else:
            result = multi.decode(
                {position: self._features(given, position) for position in range(target + 1)},
                {position: one.decoder.w_dec for position, one in enumerate(self._layers[: target + 1])},
                target=target,
                norms={position: one.decoder.norms for position, one in enumerate(self._layers[: target + 1])},
            )
        result = result + last.b_dec
        if last.skip is None or not with_skip:
            return result
        if x is None:
            raise BadInput(f"{self.spec.name} has a skip connection: its reconstruction needs what it read, too.")
        return result + single.skipped(x.to(last.skip.device, torch.float32), last.skip)

    # --- weights --------------------------------------------------------------------------------------------------

    def norms(self, layer: int | None = None) -> Tensor:
        """[F], on the CPU: by what raw activations are multiplied."""
        return self._at(layer).norms

    def b_dec(self, layer: int | None = None) -> Tensor:
        """The bias [d_out] of the site written at a layer."""
        return self._layers[self.spec.target(layer)].decoder.b_dec

    def thresholds(self, layer: int | None = None) -> Tensor:
        """[F], on the CPU, in raw units; only a JumpReLU dictionary has them."""
        return self._at(layer).weights.threshold()

    def skip_connection(self, layer: int | None = None) -> Tensor | None:
        """[d_in, d_out] between the sites of one layer, applied as x @ skip."""
        return self._layers[self.spec.target(layer)].decoder.skip

    def decoder_rows(self, indexes: Tensor, *, layer: int | None = None, target: int | None = None) -> Tensor:
        """Raw decoder rows [n, d_out] of features. Of a multi-layer dictionary the rows for one target layer, or
        without `target` those for every layer from theirs on, one behind the other."""
        one = self._at(layer)
        w_dec = one.decoder.w_dec
        indexes = self._indexes(indexes, w_dec.device)
        if one.weights.targets is None:
            return w_dec.index_select(0, indexes).to(torch.float32)
        if target is None:
            return w_dec.index_select(0, indexes).flatten(1).to(torch.float32)
        ahead = self.spec.target(target) - one.position
        if ahead < 0:
            raise BadInput(f"Features of layer {self.spec.layers[one.position]} write to no layer before it.")
        return w_dec[:, ahead].index_select(0, indexes).to(torch.float32)

    def encoder_columns(self, indexes: Tensor, *, layer: int | None = None) -> Tensor:
        """Raw encoder columns [n, d_in] of features, one row each."""
        one = self._at(layer)
        return one.columns(self._indexes(indexes, one.device("encoder"))).T.to(torch.float32)

    def write_sites(self, layer: int | None = None) -> tuple[Site, ...]:
        """The sites that the features of a layer write to."""
        return self.spec.write[self.spec.position(layer) :]

    def anticausal_peaks(self) -> tuple[float, ...]:
        """Per layer, the largest decoder entry that points at an earlier layer; never used, and ought to be zero."""
        return tuple(one.anticausal_peak for one in self._layers)

    # --- residency ------------------------------------------------------------------------------------------------

    @property
    def parts(self) -> tuple[Part, ...]:
        sides: tuple[Side, ...] = ("encoder", "decoder")
        return tuple(Part(side, layer) for layer in self.spec.layers for side in sides)

    def bytes_of(self, side: Side, layer: int | None = None) -> int:
        """What a side takes once loaded; without a layer, of all layers together."""
        return sum(one.bytes_of(side) for one in self._some(layer))

    def to_device(self, side: Side, device: str | torch.device, layer: int | None = None) -> None:
        """Load a side to a device ("cpu" is the host); without a layer, of all layers."""
        for one in self._some(layer):
            one.load(side, torch.device(device))

    def drop(self, side: Side, layer: int | None = None) -> None:
        """Give a side's memory back; it is computed with from the file until it is loaded again."""
        for one in self._some(layer):
            one.drop(side)

    def state(self, side: Side, layer: int | None = None) -> State:
        """Where a side is; of several layers the state that is furthest from the device."""
        states = {one.state(side) for one in self._some(layer)}
        return "mapped" if "mapped" in states else "host" if "host" in states else "device"

    # --- helpers --------------------------------------------------------------------------------------------------

    def _at(self, layer: int | None) -> Layer:
        return self._layers[self.spec.position(layer)]

    def _some(self, layer: int | None) -> tuple[Layer, ...]:
        return self._layers if layer is None else (self._at(layer),)

    def _input(self, x: Tensor, one: Layer) -> Tensor:
        if x.ndim != 2 or x.shape[1] != self.spec.d_in:
            raise BadInput(
                f"{self.spec.name} reads rows of {self.spec.d_in} numbers ({self.spec.read[one.position]}); what was "
                f"given has shape {list(x.shape)}."
            )
        return x.to(one.encoder.b_enc.device, torch.float32)

    def _features(self, given: Mapping[int, Tensor], position: int) -> Tensor:
        layer = self.spec.layers[position]
        features = given.get(layer)
        if features is None:
            raise BadInput(f"{self.spec.name} needs the features of layer {layer} as well, and they were not given.")
        if features.ndim != 2 or features.shape[1] != self.spec.width:
            raise BadInput(
                f"{self.spec.name} has {self.spec.width} features in a layer; what was given has shape "
                f"{list(features.shape)}."
            )
        return features.to(self._layers[position].decoder.b_dec.device, torch.float32)

    def _indexes(self, indexes: Tensor, device: torch.device) -> Tensor:
        indexes = torch.as_tensor(indexes, dtype=torch.int64)
        if len(indexes) and not (int(indexes.min()) >= 0 and int(indexes.max()) < self.spec.width):
            wrong = int(indexes.min()) if int(indexes.min()) < 0 else int(indexes.max())
            raise BadInput(f"{self.spec.name} has no feature {wrong}; its features are 0 to {self.spec.width - 1}.")
        return indexes.to(device)
