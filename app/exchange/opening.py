"""What lies at a place: which format, by what is in it, and of how many sources."""

from pathlib import Path

from app.exchange.given import Reader
from app.exchange.neuronpedia_in import FOLDERS, NeuronpediaFolder
from app.exchange.own import OwnLines
from app.exchange.saedashboard import DashboardFiles, batches_in
from app.exchange.scope_examples import NAME, ScopeExamples
from inference.errors import BadInput, NotFound

DEEPEST = 4
KNOWN = (
    "features/, activations/ or explanations/ with .jsonl.gz in them (Neuronpedia), features.jsonl.gz (Gemlens), "
    f"batch-N.json (SAEDashboard) and {NAME} (Gemma Scope 2)"
)


def readers(place: Path, *, model: str | None = None, source: str | None = None) -> list[Reader]:
    """One reader for every source that is found; of several, those asked for."""
    if not place.exists():
        raise NotFound(f"There is nothing at {place}.")
    if (one := _reader(place)) is not None:
        return [one]
    if place.is_file():
        raise BadInput(f"{place} is none of the files that can be imported: {KNOWN}.")
    found = [
        (folder, one)
        for folder in _folders(place, DEEPEST)
        if (model is None or model in folder.parts)
        and (source is None or source in folder.parts)
        and (one := _reader(folder)) is not None
    ]
    if not found:
        if not any(place.iterdir()):
            raise BadInput(f"{place} is empty. What can be imported is {KNOWN}.")
        raise BadInput(f"{place} has nothing in it that can be imported: {KNOWN}.")
    return [one for _, one in found]


def _reader(place: Path) -> Reader | None:
    if place.is_file():
        if place.name.endswith((".jsonl", ".jsonl.gz")):
            return OwnLines(place)
        if place.name == NAME:
            return ScopeExamples(place)
        return DashboardFiles(place) if place.suffix == ".json" else None
    if any((place / name).is_dir() for name in FOLDERS):
        return NeuronpediaFolder(place)
    for name in ("features.jsonl.gz", "features.jsonl"):
        if (place / name).is_file():
            return OwnLines(place / name)
    if (place / NAME).is_file():
        return ScopeExamples(place)
    return DashboardFiles(place) if batches_in(place) else None


def _folders(place: Path, depth: int) -> list[Path]:
    found = []
    for folder in sorted(one for one in place.iterdir() if one.is_dir()):
        found.append(folder)
        if depth > 1 and not any((folder / name).is_dir() for name in FOLDERS):
            found += _folders(folder, depth - 1)
    return found
