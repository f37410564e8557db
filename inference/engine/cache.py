"""Recent prompts' site activations, so that the next feature on the same text costs one matrix product.

Least recently used prompts go first once the bytes are spent. A prompt is known by its token ids and the precision
of the pass. Belongs to the device thread; it takes no locks."""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from inference.gemma.sites import Site


@dataclass(frozen=True)
class PassKey:
    """What makes two forward passes the same."""

    ids: tuple[int, ...]
    dtype: str


class SiteCache:
    """Least recently used by bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._entries: OrderedDict[PassKey, dict[Site, Tensor]] = OrderedDict()

    def get(self, key: PassKey, sites: Collection[Site]) -> dict[Site, Tensor]:
        """Those of the asked sites that are kept."""
        entry = self._entries.get(key)
        if entry is None:
            return {}
        self._entries.move_to_end(key)
        return {site: entry[site] for site in sites if site in entry}

    def put(self, key: PassKey, values: Mapping[Site, Tensor]) -> None:
        """Keep what one pass read. Sites of one prompt gather under one key and leave together."""
        entry = self._entries.setdefault(key, {})
        self._entries.move_to_end(key)
        for site, value in values.items():
            self.used_bytes += value.nbytes - (entry[site].nbytes if site in entry else 0)
            entry[site] = value
        while self.used_bytes > self.limit_bytes:
            _, dropped = self._entries.popitem(last=False)
            self.used_bytes -= sum(value.nbytes for value in dropped.values())

    def clear(self) -> None:
        """Give every byte back."""
        self._entries.clear()
        self.used_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)
