"""Forward passes for a micro-batch: shared by whoever asks for the same prompt, bucketed by length, stopped early.

What the cache already has is not computed again. When memory runs out the caches are given up and the bucket is tried
again in halves, down to single prompts, so that only a prompt that does not fit by itself fails."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

import torch
from torch import Tensor

from inference.engine.batches import buckets, halves
from inference.engine.cache import PassKey, SiteCache
from inference.engine.memory import is_device_lost, is_out_of_memory
from inference.engine.protocol import EngineError
from inference.engine.trunks import Trunks
from inference.gemma.sites import Site

OVERHEAD_TOKENS = {"cpu": 12, "cuda": 512, "mps": 128}
"""What a pass costs besides its tokens, in tokens: reading the weights, starting kernels."""

Read = dict[PassKey, dict[Site, Tensor]]


class Passes:
    """Belongs to the device thread."""

    def __init__(self, trunks: Trunks, cache: SiteCache, *, batch_tokens: int, free_memory: Callable[[], None]) -> None:
        self._trunks = trunks
        self._cache = cache
        self._batch_tokens = batch_tokens
        self._free_memory = free_memory
        self._overhead = OVERHEAD_TOKENS.get(trunks.main.device.type, 64)
        self.forwards = 0
        """Forward passes so far."""

    def read(
        self, wants: Mapping[PassKey, frozenset[Site]], *, keep: Collection[PassKey]
    ) -> tuple[Read, dict[PassKey, Exception]]:
        """The asked sites of every prompt, [T, width] each, and why those that are missing are. What is read of the
        prompts in `keep` is cached."""
        read: Read = {}
        failed: dict[PassKey, Exception] = {}
        lacking: dict[str, list[tuple[PassKey, frozenset[Site]]]] = defaultdict(list)
        for key, sites in wants.items():
            read[key] = self._cache.get(key, sites)
            if missing := sites - read[key].keys():
                lacking[key.dtype].append((key, missing))
        for members in lacking.values():
            lengths = [len(key.ids) for key, _ in members]
            for group in buckets(lengths, overhead_tokens=self._overhead, limit_tokens=self._batch_tokens):
                self._read_group([members[index] for index in group], read, failed)
        for key in keep:
            self._cache.put(key, read[key])
        return read, failed

    def _read_group(
        self,
        members: list[tuple[PassKey, frozenset[Site]]],
        read: Read,
        failed: dict[PassKey, Exception],
        *,
        again: bool = True,
    ) -> None:
        try:
            values = self._forward([key for key, _ in members], frozenset().union(*(sites for _, sites in members)))
        except Exception as error:
            if is_device_lost(error):
                raise
            if not is_out_of_memory(error):
                failed.update((key, error) for key, _ in members)
                return
            values = None
        if values is None:
            # Outside the except clause: the error's traceback would keep the tensors of the failed pass alive.
            self._free_memory()
            if len(members) == 1 and not again:
                failed[members[0][0]] = out_of_memory()
                return
            for part in halves(range(len(members))):
                self._read_group([members[index] for index in part], read, failed, again=len(members) > 1)
            return
        broken = not_finite(values)
        for key, sites in values.items():
            if key in broken:
                failed[key] = not_finite_error()
                continue
            read[key].update(sites)

    def _forward(self, keys: list[PassKey], sites: Iterable[Site]) -> Read:
        model = self._trunks.get(keys[0].dtype)
        longest = max(len(key.ids) for key in keys)
        ids = torch.full((len(keys), longest), model.tokenizer.pad, dtype=torch.int64)
        for row, key in enumerate(keys):
            ids[row, : len(key.ids)] = torch.tensor(key.ids)
        self.forwards += 1
        batch = model.read_sites(ids, frozenset(sites))
        # Copies, because a view would keep its whole padded batch in memory for as long as it is cached.
        return {
            key: {site: value[row, : len(key.ids)].clone() for site, value in batch.items()}
            for row, key in enumerate(keys)
        }


def not_finite(values: Read) -> set[PassKey]:
    """The prompts with a value that is infinite or not a number. One look at the device where all is well."""
    sums = {
        key: torch.stack([value.sum(dtype=torch.float32) for value in sites.values()]) for key, sites in values.items()
    }
    if torch.isfinite(torch.cat(list(sums.values()))).all():
        return set()
    return {key for key, sites in values.items() if not all(torch.isfinite(value).all() for value in sites.values())}


def not_finite_error() -> EngineError:
    return EngineError(
        "internal",
        "The model gave activations that are not finite. Its weights are damaged, or the device is.",
    )


def out_of_memory() -> EngineError:
    return EngineError(
        "out_of_memory",
        "The device ran out of memory on this request, also by itself. Ask for fewer tokens or fewer sources.",
        retry_after=5.0,
    )
