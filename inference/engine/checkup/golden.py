"""Numbers known from elsewhere: one feature of Gemma 3 270M (chat) that fires on cats, as Neuronpedia shows it.

They hold model, site, encoder and units together: where any of them is off, so are they. The band of the first is
Neuronpedia's own, a quarter either way; the others are given the same. On sentences without a cat it is exactly 0.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from gemmascope.names import Name, parse_source_id
from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.location import fetch
from inference.engine.checkup.asked import Installed, Told
from inference.engine.checkup.patient import Patient
from inference.engine.checkup.weights import at_hand
from inference.errors import GemlensError, NotFound, Unavailable

MODEL = "gemma-3-270m-it"
SOURCE = "15-gemmascope-2-res-16k"
FEATURE = 14340


@dataclass(frozen=True)
class Known:
    """Where the feature is strongest in a text, and how strong."""

    text: str
    piece: str
    value: float
    least: float
    most: float


FIRES = (
    Known("My cat is sleeping on the couch.", " cat", 1592.0, 1200.0, 2000.0),
    Known("A cat chased the mouse.", " cat", 1832.0, 1380.0, 2300.0),
    Known("The kitten drank its milk.", " kitten", 816.0, 612.0, 1020.0),
)
SILENT = ("The dog barked at the mailman.", "I parked the car outside.")

Values = Callable[[str], Sequence[tuple[str, float]]]
"""The feature at each token of a text that dictionaries were trained on (no BOS): the token's piece, and the value."""


def check_known_values(patient: Patient, installed: Sequence[Installed]) -> Iterator[Told]:
    own = patient.asked.model == MODEL
    looking = patient if own else Patient(replace(patient.asked, model=MODEL, model_path=None))
    try:
        dictionary = _dictionary(patient, installed)
        if not own:
            looking.checkpoint = at_hand(looking.asked)
    except (Unavailable, NotFound):
        dictionary = None
    model = looking.model if dictionary is not None else None
    if dictionary is None or model is None:
        yield Told("ok", f"Not compared: {MODEL} and its {SOURCE}, for which numbers are known, are not both here.")
        return
    (site,) = dictionary.spec.read

    def values(text: str) -> list[tuple[str, float]]:
        ids = model.tokenizer.encode(text)
        x = model.read_sites(torch.tensor([ids]), [site])[site][0]
        folded = dictionary.encode(x, columns=torch.tensor([FEATURE]))[:, 0].tolist()
        start = model.tokenizer.untrained(ids)
        return list(zip(model.tokenizer.pieces(ids), folded, strict=True))[start:]

    yield from compare(values)


def compare(values: Values) -> Iterator[Told]:
    """Each known number against ours; one sentence if all are met."""
    off = [*_fires(values), *_silent(values)]
    if off:
        yield from (Told("error", sentence) for sentence in off)
        yield Told(
            "error",
            f"{MODEL}, {SOURCE} or how they are read is not as published; download both again, and report it if it "
            "stays.",
        )
    else:
        yield Told("ok", f"{SOURCE} / {FEATURE} is as strong on cats as published, and exactly 0 without them.")


def _fires(values: Values) -> Iterator[str]:
    for known in FIRES:
        piece, value = max(values(known.text), key=lambda found: found[1])
        if piece != known.piece:
            yield f"On {known.text!r} feature {FEATURE} is strongest at {piece!r}; at {known.piece!r} is right."
        elif not known.least <= value <= known.most:
            yield (
                f"On {known.text!r} feature {FEATURE} is {value:.0f}; {known.value:.0f} was published, and "
                f"{known.least:.0f} to {known.most:.0f} is right."
            )


def _silent(values: Values) -> Iterator[str]:
    for text in SILENT:
        piece, value = max(values(text), key=lambda found: found[1])
        if value != 0:
            yield f"On {text!r} feature {FEATURE} is {value:.3g} at {piece!r}; exactly 0 is right."


def _dictionary(patient: Patient, installed: Sequence[Installed]) -> Dictionary | None:
    """It, as installed or from the hub's cache."""
    name, _ = parse_source_id(MODEL, SOURCE)
    assert isinstance(name, Name)
    found = [row.location for row in installed if (row.model, row.source) == (MODEL, SOURCE) and row.location]
    for location in (*found, name.location):
        try:
            return Dictionary(fetch(location, offline=True).folder, home=patient.asked.home)
        except GemlensError:
            continue
    return None
