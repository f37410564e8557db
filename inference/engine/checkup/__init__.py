"""What `gemlens doctor` looks at that needs torch: weights, tokenizer, device, dictionaries, and known numbers.

`checks` lists them; each is a part's name, the longest that it may be silent, and a function that yields findings as
plain pairs of level and sentence. Nothing is downloaded or converted. The model is loaded once, by the first check that
needs it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from inference.engine.checkup import device, dictionaries, golden, tokenizer, weights
from inference.engine.checkup.asked import Asked, Installed, Told
from inference.engine.checkup.patient import Patient

QUICK_SECONDS = 60.0
MODEL_SECONDS = 300.0
DICTIONARY_SECONDS = 900.0
"""A first look at the largest dictionaries reads and hashes 40 GiB."""

Listed = tuple[str, float, Callable[[], Iterable[Told]]]

__all__ = ["Asked", "checks"]


def checks(asked: Asked, installed: Sequence[Installed]) -> Iterator[Listed]:
    patient = Patient(asked)
    yield "model", MODEL_SECONDS, partial(weights.check_weights, patient)
    yield "tokenizer", QUICK_SECONDS, partial(tokenizer.check_tokenizer, patient)
    yield "device", QUICK_SECONDS, partial(device.check_device, patient)
    for sources in dictionaries.by_location(installed):
        name = f"{sources[0].model}/{sources[0].source}" + (f" and {len(sources) - 1} more" if sources[1:] else "")
        yield name, DICTIONARY_SECONDS, partial(dictionaries.check_dictionary, patient, sources)
    yield "known values", MODEL_SECONDS, partial(golden.check_known_values, patient, installed)
