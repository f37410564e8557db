"""One layer's encoder and decoder, and where each of them is now.

The two are loaded and dropped apart, because a heatmap needs only the encoder and steering only a decoder row. A part
is on a device, on the host (a float32 copy in memory), or mapped: computed with straight from the file, which the
operating system may keep in memory or not. Whatever the place, the numbers are float32 and the same.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from inference.dictionaries.activation import Activation, JumpReLU, ReLU, TopK
from inference.dictionaries.columns import Columns
from inference.dictionaries.derived import Derived
from inference.dictionaries.examine import examine
from inference.dictionaries.spec import DictionarySpec
from inference.dictionaries.weights import WeightsFile

Side = Literal["encoder", "decoder"]
State = Literal["device", "host", "mapped"]

HOST = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Encoder:
    w_enc: Tensor
    """[d_in, F]; float32, or as stored while mapped"""
    b_enc: Tensor
    activation: Activation
    norms: Tensor
    """[F]"""


@dataclass(frozen=True, eq=False)
class Decoder:
    w_dec: Tensor
    """[F, d_out], or of a multi-layer dictionary its causal part [F, targets from here on, d_out]"""
    b_dec: Tensor
    skip: Tensor | None
    """[d_in, d_out]"""
    norms: Tensor


class Layer:
    """The latents of one layer that a dictionary reads."""

    def __init__(self, spec: DictionarySpec, weights: WeightsFile, *, position: int, derived: Derived) -> None:
        self.spec = spec
        self.weights = weights
        self.position = position
        examined = examine(weights, position=position, bias_in_input=spec.bias_in_input, derived=derived)
        self.norms = examined.norms
        self.anticausal_peak = examined.anticausal_peak
        self._input_bias = examined.input_bias
        self._places: dict[Side, torch.device] = {}
        self._columns = Columns(weights, derived)
        self._encoder = self._mapped_encoder()
        self._decoder = self._mapped_decoder()

    @property
    def encoder(self) -> Encoder:
        return self._encoder

    @property
    def decoder(self) -> Decoder:
        return self._decoder

    def columns(self, indexes: Tensor) -> Tensor:
        """Chosen columns of w_enc: [d_in, n]; float32, or as stored while mapped."""
        if "encoder" in self._places:
            return self._encoder.w_enc.index_select(1, indexes)
        return self._columns[indexes]

    def state(self, side: Side) -> State:
        place = self._places.get(side)
        return "mapped" if place is None else "host" if place.type == "cpu" else "device"

    def device(self, side: Side) -> torch.device:
        """Where products with this side are computed."""
        return self._places.get(side, HOST)

    def bytes_of(self, side: Side) -> int:
        """What it takes, or would take, on a device or on the host."""
        part = self._encoder if side == "encoder" else self._decoder
        tensors = [value for value in vars(part).values() if isinstance(value, Tensor)]
        thresholds = self.spec.width if side == "encoder" and self.spec.architecture == "jump_relu" else 0
        return 4 * (sum(tensor.numel() for tensor in tensors) + thresholds)

    def load(self, side: Side, device: torch.device) -> None:
        """From the file to a device or to the host, whatever the place before."""
        if self._places.get(side) == device:
            return
        if side == "encoder":
            mapped = self._mapped_encoder()
            self._encoder = Encoder(
                _copied(mapped.w_enc, device),
                _copied(mapped.b_enc, device),
                self._activation(device),
                _copied(mapped.norms, device),
            )
        else:
            decoder = self._mapped_decoder()
            self._decoder = Decoder(
                _copied(decoder.w_dec, device),
                _copied(decoder.b_dec, device),
                None if decoder.skip is None else _copied(decoder.skip, device),
                _copied(decoder.norms, device),
            )
        self._places[side] = device

    def drop(self, side: Side) -> None:
        """Back to the file. Computations under way keep what they hold until they end."""
        if self._places.pop(side, None) is None:
            return
        if side == "encoder":
            self._encoder = self._mapped_encoder()
        else:
            self._decoder = self._mapped_decoder()

    def _mapped_encoder(self) -> Encoder:
        b_enc = self.weights.b_enc()
        if self.spec.bias_in_input:
            b_enc = b_enc - self._input_bias
        return Encoder(self.weights.w_enc(), b_enc, self._activation(HOST), self.norms)

    def _mapped_decoder(self) -> Decoder:
        w_dec = self.weights.w_dec()
        if self.weights.targets is not None:
            w_dec = w_dec[:, self.position :]
        skip = self.weights.skip_connection() if self.weights.skip else None
        return Decoder(w_dec, self.weights.b_dec(), skip, self.norms)

    def _activation(self, device: torch.device) -> Activation:
        if self.spec.architecture == "jump_relu":
            return JumpReLU(self.weights.threshold().to(device))
        if self.spec.architecture == "relu":
            return ReLU()
        assert self.spec.k is not None
        return TopK(self.spec.k, scale=self.norms.to(device) if self.spec.ranks_by_norm else None)


def _copied(source: Tensor, device: torch.device) -> Tensor:
    return torch.empty(source.shape, dtype=torch.float32, device=device).copy_(source)
