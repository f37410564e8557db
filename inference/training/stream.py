"""One stream of forward passes feeds every dictionary: passages in, shuffled batches of activations out.

The stream works in rounds. A round fills a buffer of fixed size in bytes with the activations of all sites at the same
positions, shuffles it, and is used up batch by batch, in several passes if asked for, each in an order of its own.
A round depends only on its number and on where in the text it began, so a run that was stopped goes on exactly: the
round is made again and its used batches are passed over.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.errors import BadInput
from inference.gemma.sites import Site

Passages = NDArray[np.int64]
"""Token ids [passages, T], each beginning with BOS, padded on the right with PAD."""

BOS, PAD = 2, 0
START_OF_TURN, END_OF_TURN, NEWLINE = 105, 106, 107
"""A turn is <start_of_turn>, its role, a newline, what is said, <end_of_turn> and a newline."""


class TokenSource(Protocol):
    """Where passages come from. Its state is plain JSON values."""

    def held_out(self, passages: int) -> Passages:
        """Passages that are never given again; asked for once, before all others."""
        ...

    def take(self, passages: int) -> Passages:
        """The next passages, beginning again when the text ends."""
        ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


class SiteReader(Protocol):
    """What the stream needs of a model."""

    def read_sites(self, ids: Tensor, sites: Collection[Site]) -> dict[Site, Tensor]: ...

    def site_width(self, site: Site) -> int: ...


def trained_positions(ids: Passages) -> NDArray[np.bool_]:
    """Where dictionaries are trained: not at BOS and padding, nor at the tokens of a chat's template."""
    trained: NDArray[np.bool_] = (ids != BOS) & (ids != PAD) & (ids != START_OF_TURN) & (ids != END_OF_TURN)
    header = (ids[:, :-2] == START_OF_TURN) & (ids[:, 2:] == NEWLINE)
    trained[:, 1:-1] &= ~header
    trained[:, 2:] &= ~header
    trained[:, 1:] &= ~((ids[:, :-1] == END_OF_TURN) & (ids[:, 1:] == NEWLINE))
    return trained


@dataclass(frozen=True)
class StreamShape:
    """The sizes of a stream."""

    passage_tokens: int
    forward_passages: int
    batch_tokens: int
    round_tokens: int
    """A multiple of batch_tokens."""
    passes: int = 1
    """How many times a round is used before the next is made."""


def shape_stream(
    *, widths: Sequence[int], item_bytes: int, buffer_bytes: int, passage_tokens: int, forward_tokens: int,
    batch_tokens: int, total_tokens: int, passes: int = 1,
) -> StreamShape:  # fmt: skip
    """Sizes whose buffer stays below `buffer_bytes`."""
    per_token = sum(widths) * item_bytes
    batches = min(buffer_bytes // (per_token * batch_tokens), -(-total_tokens // (batch_tokens * passes)))
    if batches < 1:
        raise BadInput(
            f"A buffer of {buffer_bytes} bytes does not hold one batch: {batch_tokens} tokens of {per_token} bytes. "
            f"Give at least {per_token * batch_tokens} bytes, or smaller batches."
        )
    forward = max(1, forward_tokens // passage_tokens)
    return StreamShape(passage_tokens, forward, batch_tokens, int(batches) * batch_tokens, passes)


class ActivationStream:
    """Batches of activations at all sites, from round to round."""

    def __init__(
        self, *, reader: SiteReader, source: TokenSource, sites: Sequence[Site], shape: StreamShape, seed: int,
        device: torch.device, dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self._reader, self._source, self._shape, self._seed = reader, source, shape, seed
        self._device = device
        self.sites = tuple(sites)
        widths = {site: reader.site_width(site) for site in self.sites}
        self._rows: dict[int, tuple[Site, ...]] = {}
        for site in self.sites:
            self._rows[widths[site]] = (*self._rows.get(widths[site], ()), site)
        # sites of one width lie in one tensor, so that a bank's batch is one gather
        self._buffers = {
            width: torch.empty(len(group), shape.round_tokens, width, dtype=dtype, device=device)
            for width, group in self._rows.items()
        }
        self._widths = widths
        self._order = torch.empty(0, dtype=torch.int64)
        self._round = -1
        self._pass = 0
        self._next_batch = 0
        self._round_state: dict[str, Any] = {}
        self.text_tokens = 0
        """Tokens that went through the model, BOS and padding included."""

    @property
    def nbytes(self) -> int:
        return sum(buffer.nbytes for buffer in self._buffers.values())

    def state(self) -> dict[str, Any]:
        """Where the stream is, for `restore`."""
        return {"round": self._round, "pass": self._pass, "next_batch": self._next_batch,
                "source": self._round_state, "text_tokens": self.text_tokens}  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Makes the round of `state` again and passes over its used batches."""
        if state["round"] < 0:
            return
        self._source.restore(state["source"])
        self._round = state["round"] - 1
        self._fill()
        if state.get("pass", 0):
            self._shuffle(state["pass"])
        self._next_batch = state["next_batch"]
        self.text_tokens = state["text_tokens"]

    def advance(self) -> None:
        """Moves to the next batch: of this pass, of the next, or of a new round when all passes are used up."""
        used_up = self._next_batch * self._shape.batch_tokens >= self._shape.round_tokens
        if self._round < 0 or (used_up and self._pass + 1 == self._shape.passes):
            self._fill()
        elif used_up:
            self._shuffle(self._pass + 1)
        else:
            self._next_batch += 1
        start = (self._next_batch - 1) * self._shape.batch_tokens
        self._rows_now = self._order[start : start + self._shape.batch_tokens]

    def batch(self, sites: Sequence[Site]) -> Tensor:
        """[n, B, width]: the current batch at sites of one width."""
        width = self._widths[sites[0]]
        group, buffer = self._rows[width], self._buffers[width]
        out = torch.empty(len(sites), len(self._rows_now), width, dtype=buffer.dtype, device=buffer.device)
        for place, site in zip(out, sites, strict=True):
            torch.index_select(buffer[group.index(site)], 0, self._rows_now, out=place)
        return out

    def sample(self, site: Site, tokens: int) -> Tensor:
        """The first so many shuffled tokens of the round at one site: [N, width]."""
        width = self._widths[site]
        return self._buffers[width][self._rows[width].index(site)].index_select(0, self._order[:tokens])

    def release(self) -> None:
        """Gives the buffer back; the stream is over."""
        self._buffers = {}

    def begin(self) -> None:
        """Fills the first round, without using any of it."""
        if self._round < 0:
            self._fill()
            self._next_batch = 0

    def _fill(self) -> None:
        self._round += 1
        self._round_state = self._source.state()
        filled = 0
        while filled < self._shape.round_tokens:
            passages = self._source.take(self._shape.forward_passages)
            for part in read_trained(self._reader, passages, self.sites, self._device):
                count = min(part.tokens, self._shape.round_tokens - filled)
                for width, group in self._rows.items():
                    for row, site in enumerate(group):
                        self._buffers[width][row, filled : filled + count] = part.at(site)[:count]
                filled += count
            self.text_tokens += passages.size
        self._shuffle(0)

    def _shuffle(self, number: int) -> None:
        """Begins a pass over the round."""
        self._pass = number
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._round + number * 998_244_353)
        self._order = torch.randperm(self._shape.round_tokens, generator=generator).to(self._device)
        self._next_batch = 1


@dataclass(frozen=True)
class Part:
    """The activations of one forward pass at the trained positions."""

    values: Mapping[Site, Tensor]
    positions: Tensor

    @property
    def tokens(self) -> int:
        return len(self.positions)

    def at(self, site: Site) -> Tensor:
        """[N, width]"""
        value = self.values[site]
        return value.reshape(-1, value.shape[-1]).index_select(0, self.positions)


def read_trained(reader: SiteReader, passages: Passages, sites: Sequence[Site], device: torch.device) -> list[Part]:
    """One forward pass over the passages. A list of one part, or of none where nothing is trained on."""
    positions = np.flatnonzero(trained_positions(passages).reshape(-1))
    if not len(positions):
        return []
    values = reader.read_sites(torch.from_numpy(passages).to(device), sites)
    return [Part(values, torch.from_numpy(positions).to(device))]
