"""Everything an operation works with: the model, its tokenizer, the dictionaries, and what memory there is.

Reading a request (prompts to ids, sources to dictionaries, sizes to bytes) may happen on any thread and touches only
what never changes; computing happens on the device thread alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version

import torch

from inference.engine.cache import PassKey, SiteCache
from inference.engine.holdings import Holdings
from inference.engine.memory import KEPT_BYTES, Shape, held_bytes, pass_bytes, readable, rows_per_block
from inference.engine.passes import Passes
from inference.engine.prompts import ReadPrompt, read_prompts
from inference.engine.protocol import EngineError, Precision, Prompt, Provenance
from inference.engine.room import Room
from inference.engine.settings import EngineSettings
from inference.engine.threads import Threads
from inference.engine.trunks import Trunks
from inference.engine.work import Item
from inference.errors import BadInput
from inference.gemma.model import Gemma
from inference.gemma.sites import Site

BLOCK_BYTES = 256 << 20

KEPT_PROMPTS = 8
"""A request of more prompts than this is bulk work: its site activations do not enter the cache."""


class Workshop:
    """One model on one device."""

    def __init__(
        self, settings: EngineSettings, trunks: Trunks, holdings: Holdings, room: Room, threads: Threads
    ) -> None:
        self.settings = settings
        self.trunks = trunks
        self.holdings = holdings
        self.room = room
        self.threads = threads
        self.tokenizer = trunks.main.tokenizer
        self.shape = shape_of(trunks.main)
        self.cache = SiteCache(settings.cache_bytes)
        self.passes = Passes(
            trunks, self.cache, batch_tokens=settings.batch_tokens, free_memory=lambda: self.free_memory()
        )
        self._block_bytes = min(BLOCK_BYTES, max(1, room.work_bytes // 4))
        self._version = version("gemlens")

    # --- for reading requests, on any thread ----------------------------------------------------------------------

    def read(self, prompts: tuple[Prompt, ...]) -> list[ReadPrompt]:
        return read_prompts(
            prompts,
            self.tokenizer,
            vocabulary=self.shape.vocabulary,
            max_tokens=self.settings.max_prompt_tokens,
            max_prompts=self.settings.max_prompts,
        )

    def site(self, written: str) -> Site:
        site = Site.parse(written)
        self.trunks.main.check_site(site)
        return site

    def key(self, prompt: ReadPrompt, precision: Precision) -> PassKey:
        return PassKey(prompt.ids, self.trunks.dtype_of(precision))

    def provenance(self, precision: Precision) -> Provenance:
        model = self.trunks.main
        return Provenance(
            model=model.checkpoint.model,
            checkpoint=model.checkpoint.sha256,
            origin=model.checkpoint.origin,
            dtype=self.trunks.dtype_of(precision),
            device=str(model.device),
            version=self._version,
        )

    def check_count(self, name: str, count: int) -> None:
        limit = self.settings.max_top_features
        if not 1 <= count <= limit:
            raise BadInput(f"{name} is {count}; it goes from 1 to {limit}.")

    def admit(self, items: Sequence[Item], *, answer_bytes: int) -> Sequence[Item]:
        """The items, unless one of them, or their answer, can never fit."""
        limit = self.room.work_bytes
        for item in items:
            needed = self._held(item) + max(self._pass(item), item.finish_bytes)
            if needed > limit:
                tokens = f" over {item.tokens} tokens" if item.tokens else ""
                raise BadInput(
                    f"This would need {readable(needed)} while it is computed{tokens}, and {readable(limit)} is what "
                    "the engine has for it. Ask for a shorter text or for fewer or smaller sources."
                )
        if answer_bytes > self.settings.max_answer_bytes:
            raise EngineError(
                "too_long",
                f"The answer would take {readable(answer_bytes)}, and {readable(self.settings.max_answer_bytes)} is "
                "the most that is sent at once. Ask for fewer prompts, sources or sites.",
            )
        if len(items) > KEPT_PROMPTS:
            return [replace(item, keep=False) for item in items]
        return items

    # --- for computing, on the device thread ----------------------------------------------------------------------

    def new_load(self) -> Callable[[Item], bool]:
        """Adds items to a micro-batch as long as they fit in it together; the first one always does."""
        keys: set[PassKey] = set()
        tokens = held = peak = 0
        empty = True

        def fits(item: Item) -> bool:
            nonlocal tokens, held, peak, empty
            new = item.key is not None and item.key not in keys
            more_tokens = tokens + (item.tokens if new else 0)
            more_held = held + self._held(item)
            more_peak = max(peak, self._pass(item), item.finish_bytes)
            full = more_tokens > self.settings.batch_tokens or more_held + more_peak > self.room.work_bytes
            if full and not empty:
                return False
            tokens, held, peak, empty = more_tokens, more_held, more_peak, False
            if item.key is not None:
                keys.add(item.key)
            return True

        return fits

    def rows_per_block(self, width: int) -> int:
        """How many rows of `width` numbers to compute at once."""
        return rows_per_block(width=width, limit_bytes=self._block_bytes)

    @contextmanager
    def half_blocks(self) -> Iterator[None]:
        """Work in smaller pieces, after memory has run out."""
        before = self._block_bytes
        self._block_bytes = max(1, before // 8)
        try:
            yield
        finally:
            self._block_bytes = before

    def free_memory(self, *, everything: bool = False) -> None:
        """Give caches back to the device; `everything` also its dictionaries and the second copy of the model."""
        self.cache.clear()
        if everything:
            self.holdings.free_device()
            self.trunks.free()
        if self.trunks.main.device.type == "cuda":
            torch.cuda.empty_cache()

    def _held(self, item: Item) -> int:
        return held_bytes(self.shape, length=item.tokens, site_widths=self._widths(item))

    def _pass(self, item: Item) -> int:
        if item.key is None:
            return 0
        return KEPT_BYTES + pass_bytes(self.shape, prompts=1, length=item.tokens, site_widths=self._widths(item))

    def _widths(self, item: Item) -> list[int]:
        return [self.trunks.main.site_width(site) for site in item.sites]


def shape_of(model: Gemma) -> Shape:
    config = model.network.config
    return Shape(
        layers=model.n_layers,
        d_model=model.d_model,
        d_mlp=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        vocabulary=model.unembedding.shape[0],
        itemsize=4 if model.dtype == torch.float32 else 2,
    )
