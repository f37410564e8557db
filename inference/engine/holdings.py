"""Which dictionaries the engine has open, and which of their weights lie where.

Opening reads a folder once (from the hub if it must) on a thread of its own, so the device never waits for a disk or
a network. Residency is decided on the device thread: encoder and decoder apart, layer by layer, the least recently
used giving way, each place within its budget of bytes. What fits nowhere is computed with straight from its mapped
file: slower, and the same numbers. Few columns of an encoder are always read that way unless it is loaded already."""

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.layer import Side
from inference.engine.memory import is_out_of_memory
from inference.engine.protocol import Loaded, Source
from inference.errors import BadInput, NotFound
from inference.gemma.sites import Site

log = logging.getLogger(__name__)

OPEN_LIMIT = 512
FEW_COLUMNS = 16
"""An encoder is loaded for a request for more than one in so many of its columns."""

HOST = torch.device("cpu")

Open = Callable[[str], Dictionary]
Check = Callable[[Dictionary], tuple[str, ...]]


@dataclass(frozen=True)
class Held:
    """A source's dictionary, found to be made for this model."""

    source: Source
    dictionary: Dictionary

    @property
    def read(self) -> Site:
        return self.dictionary.spec.read[self.position]

    @property
    def write(self) -> Site:
        return self.dictionary.spec.write[self.position]

    @property
    def position(self) -> int:
        return self.dictionary.spec.position(self.source.layer)

    @property
    def width(self) -> int:
        return self.dictionary.spec.width


@dataclass(frozen=True)
class _Opened:
    dictionary: Dictionary
    stamps: tuple[tuple[int, int], ...]
    """Of its files as they were opened."""


@dataclass(eq=False)
class _Entry:
    """One location: what was or is being opened there, the sources known by it, and what checks found."""

    opened: Future[_Opened]
    sources: dict[str, Source]
    findings: tuple[str, ...] = ()

    @property
    def dictionary(self) -> Dictionary | None:
        if not self.opened.done() or self.opened.cancelled() or self.opened.exception() is not None:
            return None
        return self.opened.result().dictionary

    @property
    def current(self) -> bool:
        """Whether it need not be opened (again): it is being opened, or it is open and its files are as they were."""
        if not self.opened.done():
            return True
        dictionary = self.dictionary
        return dictionary is not None and stamps(dictionary.spec.files) == self.opened.result().stamps


@dataclass(frozen=True)
class _Part:
    """What is loaded in one piece. Dictionaries are told apart by identity: one that was replaced is another."""

    dictionary: Dictionary
    side: Side
    layer: int


class _Place:
    """A memory, its budget, and what lies there, least recently used first."""

    def __init__(self, device: torch.device, limit_bytes: int) -> None:
        self.device = device
        self.limit_bytes = limit_bytes
        self.parts: OrderedDict[_Part, int] = OrderedDict()

    @property
    def used_bytes(self) -> int:
        return sum(self.parts.values())

    def drop_oldest(self) -> None:
        part, _ = self.parts.popitem(last=False)
        part.dictionary.drop(part.side, part.layer)


class Holdings:
    """`open` and `get` from any thread, the rest from the device thread alone."""

    def __init__(
        self,
        *,
        device: torch.device,
        device_bytes: int,
        host_bytes: int,
        layers: int,
        site_width: Callable[[Site], int],
        open_dictionary: Open,
        check: Check,
    ) -> None:
        self._places = [_Place(device, device_bytes)]
        if device.type != "cpu":
            self._places.append(_Place(HOST, host_bytes))
        self._layers = layers
        self._site_width = site_width
        self._open_dictionary = open_dictionary
        self._check = check
        self._lock = threading.Lock()
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="engine-opener")
        self._checker = ThreadPoolExecutor(1, thread_name_prefix="engine-checker")
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    # --- on any thread --------------------------------------------------------------------------------------------

    def open(self, source: Source) -> Future[_Opened]:
        """Done once the dictionary has been fetched and looked through; `get` then has it. Asked again it is at once,
        unless its files were replaced or it could not be opened."""
        with self._lock:
            entry = self._entries.get(source.location)
            if entry is None or not entry.current:
                entry = _Entry(self._opener.submit(self._open, source.location), {})
                self._entries[source.location] = entry
                entry.opened.add_done_callback(lambda _: self._look_through(entry))
            self._entries.move_to_end(source.location)
            entry.sources[source.id] = source
            while len(self._entries) > OPEN_LIMIT:
                self._entries.popitem(last=False)
            return entry.opened

    def get(self, source: Source) -> Held:
        """An opened source; raises a sentence when it does not go with the model."""
        with self._lock:
            entry = self._entries.get(source.location)
        if entry is None:
            raise NotFound(f"{source.id} has not been opened.")
        dictionary = entry.opened.result().dictionary
        held = Held(source, dictionary)
        spec = dictionary.spec
        for site, width, verb in ((held.read, spec.d_in, "reads"), (held.write, spec.d_out, "writes")):
            if site.layer >= self._layers:
                raise BadInput(
                    f"{source.id} {verb} {site}, and this model's layers go from 0 to {self._layers - 1}: it was made "
                    "for another model."
                )
            if width != self._site_width(site):
                raise BadInput(
                    f"{source.id} {verb} {width} numbers at {site}, where this model has {self._site_width(site)}: it "
                    "was made for another model."
                )
        return held

    def loaded(self) -> tuple[Loaded, ...]:
        """What is open, for people to look at."""
        with self._lock:
            entries = [(entry, list(entry.sources.values())) for entry in self._entries.values()]
        return tuple(
            self._row(source, dictionary, entry.findings)
            for entry, sources in entries
            if (dictionary := entry.dictionary) is not None
            for source in sources
            if source.layer in dictionary.spec.layers
        )

    @staticmethod
    def _row(source: Source, dictionary: Dictionary, findings: tuple[str, ...]) -> Loaded:
        sides: tuple[Side, ...] = ("encoder", "decoder")
        sizes = {"device": 0, "host": 0, "mapped": 0}
        for side in sides:
            sizes[dictionary.state(side, source.layer)] += dictionary.bytes_of(side, source.layer)
        return Loaded(
            source=source,
            kind=dictionary.spec.kind,
            width=dictionary.spec.width,
            bytes_device=sizes["device"],
            bytes_host=sizes["host"],
            findings=findings,
        )

    def close(self) -> None:
        self._opener.shutdown(wait=False, cancel_futures=True)
        self._checker.shutdown(wait=False, cancel_futures=True)

    # --- on the device thread -------------------------------------------------------------------------------------

    def with_encoder(self, held: Held, *, columns: int | None = None) -> Dictionary:
        """The dictionary, its encoder loaded if there is room; for few columns only what is needed is read."""
        few = columns is not None and columns * FEW_COLUMNS < held.width
        if not few or self._place_of(self._part(held, "encoder")) is not None:
            self._settle(held, "encoder")
        return held.dictionary

    def with_decoder(self, held: Held) -> Dictionary:
        """The dictionary, its decoder loaded if there is room."""
        self._settle(held, "decoder")
        return held.dictionary

    def free_device(self) -> None:
        """Give all loaded weights back. They are loaded again when they are next used."""
        for place in self._places:
            while place.parts:
                place.drop_oldest()

    def _settle(self, held: Held, side: Side) -> None:
        part = self._part(held, side)
        place = self._place_of(part)
        if place is not None:
            place.parts.move_to_end(part)
            return
        needed = held.dictionary.bytes_of(side, held.source.layer)
        for place in self._places:
            if needed > place.limit_bytes:
                continue
            while place.used_bytes + needed > place.limit_bytes:
                place.drop_oldest()
            if self._load(held, side, place):
                place.parts[part] = needed
                return

    def _load(self, held: Held, side: Side, place: _Place) -> bool:
        """False when there is no memory for it, whatever the budget says, even with the others gone."""
        for _ in range(2):
            try:
                held.dictionary.to_device(side, place.device, held.source.layer)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            else:
                return True
            while place.parts:
                place.drop_oldest()
        return False

    def _part(self, held: Held, side: Side) -> _Part:
        return _Part(held.dictionary, side, held.source.layer)

    def _place_of(self, part: _Part) -> _Place | None:
        return next((place for place in self._places if part in place.parts), None)

    # --- on threads of their own ----------------------------------------------------------------------------------

    def _open(self, location: str) -> _Opened:
        dictionary = self._open_dictionary(location)
        return _Opened(dictionary, stamps(dictionary.spec.files))

    def _look_through(self, entry: _Entry) -> None:
        with contextlib.suppress(RuntimeError):  # The engine is being closed.
            if (dictionary := entry.dictionary) is not None:
                self._checker.submit(self._find, entry, dictionary)

    def _find(self, entry: _Entry, dictionary: Dictionary) -> None:
        try:
            entry.findings = self._check(dictionary)
        except Exception as error:
            log.exception("a dictionary could not be checked")
            entry.findings = (f"It could not be checked: {error}",)


def stamps(files: tuple[Path, ...]) -> tuple[tuple[int, int], ...]:
    """Size and time of change of files; empty once one is gone."""
    try:
        return tuple((found.st_size, found.st_mtime_ns) for found in (file.stat() for file in files))
    except OSError:
        return ()
