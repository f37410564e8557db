"""A prompt that is being continued token by token, its keys and values kept."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from transformers import DynamicCache

from inference.gemma.hooks import Watcher, watching
from inference.gemma.model import NO_EDITS, Gemma
from inference.gemma.sites import Site


class Continuation:
    """Next-token logits after a prompt, and after each token that is appended.

    Several rows of equal length may run side by side: the same prompt with and without an edit, for example. An edit
    is called with the tensor [rows, tokens, width] of the tokens being added, of which `position` is the first.
    """

    def __init__(
        self, gemma: Gemma, rows: Sequence[Sequence[int]], *, edits: Mapping[Site, Watcher] = NO_EDITS
    ) -> None:
        for site in edits:
            gemma.check_site(site)
        self.position = 0
        """Where the tokens that are being added begin, counted from BOS."""
        self.length = 0
        """How many tokens each row has."""
        self._gemma = gemma
        self._edits = edits
        self._cache = DynamicCache(config=gemma.network.config)
        self.logits = self._add(torch.tensor([list(row) for row in rows]))
        """After the newest token: [rows, vocabulary]."""

    def append(self, tokens: Sequence[int]) -> Tensor:
        """Adds one token to each row and returns the logits that follow."""
        self.logits = self._add(torch.tensor(list(tokens))[:, None])
        return self.logits

    @torch.no_grad()
    def _add(self, ids: Tensor) -> Tensor:
        self.position = self.length
        trunk = self._gemma.trunk
        with watching(self._gemma.layers, self._edits):
            output = trunk(input_ids=self._gemma.on_device(ids), past_key_values=self._cache, use_cache=True)
        self.length += ids.shape[1]
        return self._gemma.unembed(cast(Tensor, output.last_hidden_state)[:, -1])
