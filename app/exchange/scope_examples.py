"""`examples.safetensors` of Gemma Scope 2's repositories, read: for every feature its thousand strongest activations
and where they are, top and bottom logits, and how often it fires.

The file has only the strongest values of each text. What else a feature does there is filled in by an engine, where
there is one and where it is asked (`filling.py`). Values in it are those of the raw dictionary; lengths of its decoder
rows (in `params.safetensors` beside it) make activations of them.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from app.exchange.given import PART, GivenBand, GivenExample, GivenFeature, GivenLabel, Look
from app.exchange.limits import LARGEST
from app.exchange.vocabulary import Vocabulary
from app.store.features import DENSE, NEVER_FIRED
from inference.errors import BadInput

NAME, PARAMS = "examples.safetensors", "params.safetensors"
KIND = "Gemma Scope 2's examples"
NEEDED = ("tokens", "activations", "seq_ids", "positions")
TOP, PER_OCTAVE = 20, 5


class ScopeExamples:
    def __init__(self, folder: Path) -> None:
        self.folder = folder if folder.is_dir() else folder.parent
        self.path = self.folder / NAME
        self.file = _opened(self.path)
        self.shapes = {name: tuple(self.file.get_slice(name).get_shape()) for name in self.file.keys()}  # noqa: SIM118
        if missing := [name for name in NEEDED if len(self.shapes.get(name, ())) != 2]:
            raise BadInput(f"{self.path} has no {', '.join(missing)}: these are no examples of Gemma Scope 2.")
        self.width = self.shapes["activations"][0]
        for name in ("seq_ids", "positions"):
            if self.shapes[name] != self.shapes["activations"]:
                raise BadInput(
                    f"{self.path}: {name} has shape {list(self.shapes[name])}; "
                    f"{list(self.shapes['activations'])} would be right."
                )
        self.norms, self.thresholds = self._weights()
        self.folded = False
        """Whether its values are activations as they are; an engine can tell."""

    def look(self) -> Look:
        found = Look(kind=KIND, place=str(self.folder), features=self.width, highest=self.width - 1)
        self._check()
        found.highest_token = self._highest_token()
        found.activations = math.prod(self.shapes["activations"])
        found.texts = "Gemma Scope 2's own examples"
        with self.path.open("rb") as file:
            found.identity = hashlib.file_digest(file, "sha256").hexdigest() + ("f" if self.folded else "r")
        found.unknown += [
            "Of each text it has the strongest values alone; an engine can fill in the others (--contexts).",
            "It has no mean activations and no histograms.",
        ]
        if self.norms is None:
            found.unknown.append(f"There is no {PARAMS} beside it, so values stay those of the raw dictionary.")
        return found

    def features(self, vocabulary: Vocabulary, noted: Counter[str]) -> Iterator[tuple[int, list[GivenFeature]]]:
        for part, low in enumerate(range(0, self.width, PART)):
            rows = slice(low, min(self.width, low + PART))
            columns = {
                name: self.file.get_slice(name)[rows]
                for name, shape in self.shapes.items()
                if name != "tokens" and shape[0] == self.width
            }
            yield part, [self._feature(low + place, place, columns) for place in range(rows.stop - low)]

    def labels(self) -> Iterator[GivenLabel]:
        yield from ()

    def text(self, sequence: int) -> np.ndarray:
        found: np.ndarray = self.file.get_slice("tokens")[sequence : sequence + 1][0]
        return found.astype(np.int32)

    def strongest(self, index: int, most: int) -> list[tuple[int, int, float]]:
        """Text, position and stored value of a feature's strongest activations."""
        rows = slice(index, index + 1)
        values, sequences, positions = (
            self.file.get_slice(name)[rows][0][:most].tolist() for name in ("activations", "seq_ids", "positions")
        )
        return [one for one in zip(sequences, positions, values, strict=True) if one[2] > 0]

    def scale(self, index: int) -> float:
        """What its values are multiplied by."""
        return 1.0 if self.folded or self.norms is None else float(self.norms[index])

    def _feature(self, index: int, place: int, columns: dict[str, np.ndarray]) -> GivenFeature:
        scale = self.scale(index)
        values = columns["activations"][place].astype(np.float32) * np.float32(scale)
        bands = self._bands(values, columns["seq_ids"][place], columns["positions"][place])
        peak = max(float(values[0]), 0.0) if len(values) else 0.0
        density = float(columns["feature_frequencies"][place]) if "feature_frequencies" in columns else 0.0
        facts: dict[str, Any] = {
            "density": density,
            "peak": peak,
            "mean": 0.0,
            "flags": NEVER_FIRED if not peak else DENSE if density > 0.1 else 0,
            "norm": None if self.norms is None else float(self.norms[index]),
            "threshold": None if self.thresholds is None else float(self.thresholds[index]),
        }
        for ids, stored, kept in (
            ("top_tokens", "top_logits", "top_logits"),
            ("bottom_tokens", "bottom_logits", "bottom_logits"),
        ):
            if ids in columns and stored in columns:
                facts[kept] = columns[ids][place].astype(np.int32)
                facts[kept.removesuffix("s") + "_values"] = columns[stored][place].astype(np.float32)
        return GivenFeature(index=index, facts=facts, bands=bands)

    def _bands(self, values: np.ndarray, sequences: np.ndarray, positions: np.ndarray) -> tuple[GivenBand, ...]:
        """The twenty strongest texts, then some of each octave below them."""
        texts: dict[int, dict[int, float]] = {}
        for value, sequence, position in zip(values.tolist(), sequences.tolist(), positions.tolist(), strict=True):
            if value > 0:
                texts.setdefault(sequence, {})[position] = value
        ordered = sorted(texts.items(), key=lambda one: -max(one[1].values()))
        groups: dict[int | None, list[tuple[int, dict[int, float]]]] = {}
        for rank, one in enumerate(ordered):
            octave = None if rank < TOP else math.floor(math.log2(max(one[1].values())))
            groups.setdefault(octave, []).append(one)
        bands = []
        for octave, group in groups.items():
            step = 1 if octave is None else max(1, len(group) // PER_OCTAVE)
            examples = tuple(self._example(*one) for one in group[::step][: TOP if octave is None else PER_OCTAVE])
            low, high = (examples[-1].peak, examples[0].peak) if octave is None else (2.0**octave, 2.0 ** (octave + 1))
            bands.append(GivenBand(low=low, high=high, share=None, examples=examples))
        return tuple(bands)

    def _example(self, sequence: int, found: dict[int, float]) -> GivenExample:
        ids = self.text(sequence)
        positions = np.array(sorted(found), dtype=np.int64)
        values = np.array([found[place] for place in positions.tolist()], dtype=np.float32)
        top = int(np.argmax(values))
        return GivenExample(
            ids=ids, positions=positions, values=values, peak=float(values[top]), position=int(positions[top])
        )

    def _check(self) -> None:
        """Raises where an activation is no number, or of a place that the texts do not have."""
        texts, length = self.shapes["tokens"]
        for low in range(0, self.width, PART):
            values, sequences, positions = (
                self.file.get_slice(name)[low : min(low + PART, self.width)]
                for name in ("activations", "seq_ids", "positions")
            )
            if not (values <= LARGEST).all():
                raise BadInput(f"{self.path}: activations of features {low} to {low + len(values) - 1} are no numbers.")
            fires = values > 0
            for name, places, end in (("text", sequences, texts), ("position", positions, length)):
                if (odd := places[fires & ((places < 0) | (places >= end))]).size:
                    raise BadInput(f"{self.path} names {name} {int(odd[0])}, and has {end:,}.")

    def _highest_token(self) -> int:
        tokens, texts, highest = self.file.get_slice("tokens"), self.shapes["tokens"][0], -1
        for low in range(0, texts, PART):
            some = tokens[low : min(low + PART, texts)]
            if some.min() < 0:
                raise BadInput(f"{self.path} has the token id {int(some.min())}. Ids count from 0.")
            highest = max(highest, int(some.max()))
        return highest

    def _weights(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Lengths of decoder rows, and thresholds."""
        path = self.folder / PARAMS
        if not path.is_file():
            return None, None
        file = _opened(path)
        names = set(file.keys())
        if "w_dec" not in names:
            return None, None
        shape = file.get_slice("w_dec").get_shape()
        if len(shape) != 2 or shape[0] != self.width:
            raise BadInput(f"{path} has {shape[0]:,} features, and {NAME} {self.width:,}: they are not of each other.")
        rows = file.get_slice("w_dec")
        norms = np.concatenate(
            [
                np.linalg.norm(rows[low : min(low + PART, self.width)].astype(np.float64), axis=1)
                for low in range(0, self.width, PART)
            ]
        )
        return norms, file.get_tensor("threshold") if "threshold" in names else None


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} is no safetensors file, or was cut: {error}.") from None
