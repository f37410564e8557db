"""What a harvest works with, opened: the model, the dictionaries, and on which device."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.location import open_dictionary
from inference.errors import BadInput, Unavailable
from inference.gemma.checkpoint import Checkpoint
from inference.gemma.model import Gemma
from inference.gemma.origin import find
from inference.harvest.asked import Asked, Place
from inference.harvest.shard import Source
from inference.harvest.telling import Tell, silent


class Opened:
    """Dictionaries by location: one that makes several sources is opened once."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._dictionaries: dict[str, Dictionary] = {}

    def source(self, place: Place) -> Source:
        if place.location not in self._dictionaries:
            self._dictionaries[place.location] = open_dictionary(
                place.location, home=Path(self._asked.home), offline=self._asked.offline
            )
        return Source(self._dictionaries[place.location], place.layer)


@dataclass(frozen=True)
class Subject:
    model: Gemma
    sources: Mapping[str, Source]
    opened: Opened


def checkpoint_of(asked: Asked, tell: Tell = silent) -> Checkpoint:
    return find(asked.model, home=Path(asked.home), model_path=asked.model_path, offline=asked.offline, progress=tell)


def open_subject(asked: Asked, *, device: str | None = None, tell: Tell = silent) -> Subject:
    """Everything loaded, the encoders on the device. Weights that do not fit it are said to."""
    model = Gemma.load(checkpoint_of(asked, tell), device=device or asked.device, dtype=asked.dtype)
    opened = Opened(asked)
    sources = {place.name: opened.source(place) for place in asked.sources}
    for name, source in sources.items():
        check_fits(model, name, source)
    for source in sources.values():
        source.dictionary.to_device("encoder", model.device, source.layer)
    return Subject(model, sources, opened)


def check_fits(model: Gemma, name: str, source: Source) -> None:
    """A dictionary of another model is refused before anything is computed."""
    spec, site = source.dictionary.spec, source.site
    if site.layer >= model.n_layers or model.site_width(site) != spec.d_in:
        raise BadInput(
            f"{name} reads {spec.d_in} numbers at {site}, and {model.checkpoint.model} has no such site. "
            "It belongs to another model."
        )


def explained_memory(error: BaseException) -> Unavailable | None:
    """A sentence for a device whose memory ran out; None for other errors."""
    if type(error).__name__ == "OutOfMemoryError":
        return Unavailable("The device's memory ran out. Harvest fewer sources at once, or with --batch-passages 4.")
    return None
