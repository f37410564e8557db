"""Lists as text: lines that people write, JSON and CSV that go out and come in.

JSON is what `/api/list/new-with-features` takes, so a file can be posted there as it is; Neuronpedia's own answer of
`/api/list/get` is read too, and a bare array of features. CSV has one feature a line under a head.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from app.store.shelves import MOST, List, Named
from inference.errors import BadInput

NAMES = {
    "model": ("model", "modelId", "model_id"),
    "source": ("source", "layer", "sourceId", "source_id"),
    "index": ("index", "feature", "featureIndex"),
    "note": ("note", "description"),
}
_AT = re.compile(r"([^@\s/]+)@([^@:\s]+):([\w-]+)", re.ASCII)
_NESTED = re.compile(r"\[\s*\[")


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a file or an address says of a list."""

    title: str
    description: str
    test_text: str
    features: tuple[Named, ...]


# --- what people write --------------------------------------------------------------------------------------------


def lines(text: str) -> list[Named]:
    """A feature a line: an address of ours or of Neuronpedia, or `model/source/index`; what follows is its note."""
    found = [_line(line.strip()) for line in text.splitlines() if line.strip()]
    if not found:
        raise BadInput("Name a feature: its address, or model/source/index as gemma-3-270m/12-gemmascope-2-res-16k/42.")
    if len(found) > MOST:
        raise BadInput(f"These are {len(found):,} features, and {MOST:,} is the most of one list.")
    return found


def _line(line: str) -> Named:
    name, _, note = line.partition(" ")
    if match := _AT.fullmatch(name):
        return Named(model=match[1], source=match[2], index=match[3], note=note.strip())
    try:
        path = unquote(urlsplit(name).path if "://" in name else name)
    except ValueError:
        path = ""
    parts = [part for part in path.removesuffix(".json").split("/") if part]
    if len(parts) < 3:
        raise BadInput(
            f"{line[:100]!r} names no feature. Write its address, or model/source/index as "
            "gemma-3-270m/12-gemmascope-2-res-16k/42, and behind it a note if you like."
        )
    return Named(model=parts[-3], source=parts[-2], index=parts[-1], note=note.strip())


# --- files --------------------------------------------------------------------------------------------------------


def as_json(of: List, features: Iterable[Named]) -> bytes:
    told = {
        "name": of.title,
        "description": of.description,
        "testText": of.test_text,
        "features": [
            {"modelId": one.model, "layer": one.source, "index": one.index, "description": one.note} for one in features
        ],
    }
    return json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n"


def read(text: str, *, title: str = "") -> Given:
    """A list out of JSON or CSV."""
    text = text.removeprefix("\ufeff").strip()
    if not text:
        raise BadInput("There is no list in this: choose a file, or paste its text.")
    given = _of_json(text, title) if text[0] in "[{" else _of_csv(text, title)
    if not given.features:
        raise BadInput("No feature is in this list.")
    if len(given.features) > MOST:
        raise BadInput(f"This list has {len(given.features):,} features, and {MOST:,} is the most of one list.")
    return given


def features_of(text: str) -> tuple[Named, ...]:
    """The features of an address made for Neuronpedia: a JSON array."""
    return tuple(_features(_parsed(text)))


def _of_json(text: str, title: str) -> Given:
    told = _parsed(text)
    about: Mapping[str, Any] = told if isinstance(told, dict) else {}
    some = told if isinstance(told, list) else about.get("features") or about.get("neurons") or []
    return Given(
        title=title or _text(about.get("name")) or "Imported list",
        description=_text(about.get("description")),
        test_text=_text(about.get("testText") or about.get("defaultTestText")),
        features=tuple(_features(some)),
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"This is no JSON that can be read: {str(error)[:120]}.") from None


def _features(some: Any) -> Iterable[Named]:
    if not isinstance(some, list):
        raise BadInput("The features of a list are a JSON array of objects with modelId, layer and index.")
    for one in some:
        if not isinstance(one, dict):
            raise BadInput("A feature in a list is an object with modelId, layer and index.")
        fields = {name: _text(next((one[key] for key in keys if one.get(key) is not None), None))
                  for name, keys in NAMES.items()}  # fmt: skip
        # Some makers of addresses write all indexes of a source as one text, an array of arrays.
        if _NESTED.match(fields["index"]):
            for row in _parsed(fields["index"]):
                for index in row if isinstance(row, list) else [row]:
                    yield _named({**fields, "index": _text(index)})
        else:
            yield _named(fields)


def _of_csv(text: str, title: str) -> Given:
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise BadInput(f"This is no CSV that can be read: {error}.") from None
    heads = {key for row in rows[:1] for key in row}
    missing = [name for name in ("model", "source", "index") if not heads.intersection(NAMES[name])]
    if missing:
        raise BadInput(f"The first line of a CSV names its columns; {', '.join(missing)} is missing among them.")
    features = tuple(_named(_row(row)) for row in rows)
    return Given(title=title or "Imported list", description="", test_text="", features=features)


def _row(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(next((row[key] for key in keys if row.get(key)), "")) for name, keys in NAMES.items()}


def _named(fields: Mapping[str, str]) -> Named:
    if not (fields["model"] and fields["source"] and fields["index"]):
        raise BadInput("A feature in a list needs a model, a source and an index.")
    return Named(model=fields["model"], source=fields["source"], index=fields["index"], note=fields["note"])


def _text(value: Any) -> str:
    """Texts and whole numbers; nothing else is a name."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**12:
        return str(value)
    raise BadInput(f"{str(value)[:60]!r} stands where a text belongs.")


def names_of(items: Sequence[Any]) -> list[Named]:
    return [Named(model=one.model, source=one.source, index=one.index, note=one.note) for one in items]
