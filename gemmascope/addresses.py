"""Features by address: `/{model}/{source}/{index}` here, on Neuronpedia and on any server that runs this, and
`model@source:index` where an address would be too long.

Splitting is separate from knowing: `split` takes an address apart whatever its source is called (people add their own),
`parse_any` in `names` says what the parts mean.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from gemmascope.errors import UnknownName
from gemmascope.models import Model, find_model

_AT = re.compile(r"(?P<model>[^@\s]+)@(?P<source>[^@:\s]+)(?::(?P<index>\d+))?", re.ASCII)
_SUFFIXES = (".json", ".csv", ".parquet")


@dataclass(frozen=True)
class Address:
    model: str
    source: str | None = None
    index: int | None = None

    @property
    def path(self) -> str:
        """Below the root of the site."""
        return "/" + "/".join(str(part) for part in (self.model, self.source, self.index) if part is not None)

    def __str__(self) -> str:
        """`gemma-3-1b@13-gemmascope-2-res-16k:42`"""
        source = "" if self.source is None else f"@{self.source}"
        return f"{self.model}{source}" + ("" if self.index is None else f":{self.index}")


def split(text: str) -> Address:
    """An address, a full one with its host or only its path, or `model@source:index`."""
    text = text.strip()
    if match := _AT.fullmatch(text):
        return Address(find_model(match["model"]).id, match["source"], parse_index(match["index"]))
    try:
        path = unquote(urlsplit(text if "://" in text else f"//{text}" if _has_host(text) else text).path)
    except ValueError:
        path = ""
    parts = [part for part in path.split("/") if part]
    for start, part in enumerate(parts):
        if model := _model(part):
            return _below(model.id, parts[start + 1 :])
    raise UnknownName(
        f"{text[:160]!r} leads to no Gemma 3; addresses look like /gemma-3-1b/13-gemmascope-2-res-16k/42."
    )


def parse_index(text: str | None) -> int | None:
    """A feature's index, or None for none."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UnknownName(f"{text[:40]!r} is no feature; features are counted from 0.")
    return int(text)


def _has_host(text: str) -> bool:
    first = text.partition("/")[0]
    return "." in first.removesuffix(".json") or first.startswith("localhost")


def _model(part: str) -> Model | None:
    try:
        return find_model(part) if part.lower().startswith(("gemma-3", "gemma-v3")) else None
    except UnknownName:
        return None


def _below(model: str, parts: list[str]) -> Address:
    if not parts:
        return Address(model)
    last = parts[-1]
    for suffix in _SUFFIXES:
        last = last.removesuffix(suffix)
    parts = [*parts[:-1], last]
    if len(parts) == 1 or not parts[1].isdecimal():
        return Address(model, parts[0])
    return Address(model, parts[0], parse_index(parts[1]))
