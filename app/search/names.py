"""Features, sources and models by their names: ids, pasted links of ours and of Neuronpedia, names of SAELens."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.search.scope import Place
from gemmascope.addresses import Address
from gemmascope.errors import UnknownName
from gemmascope.names import parse_any
from gemmascope.nearest import nearest

_BARE = re.compile(r"(?P<source>\d+-[\w.-]+)(?:[/:#\s]+(?P<index>\d{1,9}))?", re.ASCII)
_NUMBER = re.compile(r"#?(\d{1,9})", re.ASCII)
_LIKE_A_NAME = re.compile(
    r"https?://|hf:|\d+-[a-z][\w.-]*-|gemma-?(?:3|v3|scope)\S*[/@]|/?gemma-3-\S+/\S|/?[\w.-]+[/@]\d+-[a-z]", re.ASCII
)
_NOTHING_BUT_A_NAME = re.compile(
    r"(?:https?://|hf:)\S+|\d+-(?:gemmascope|starter)-\S+|\d+-[a-z][\w.-]*[/:#]\d+|/?gemma-?(?:3|v3|scope)\S*[/@]\S+"
    r"|/?[\w.-]+[/@]\d+-[a-z][\w.-]*[/:#]\d+\S*",
    re.ASCII,
)
"""Not `24-hour`, which is a word and could be a source of somebody's own."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a query names here; several where it leaves the model open."""

    addresses: tuple[Address, ...] = ()
    sentence: str = ""
    """Why it names nothing here, where it looks as if it should."""
    certain: bool = False
    """Exactly one thing is meant, and nothing else could be: the page may go straight there."""
    only: bool = False
    """It can be nothing but a name: where it leads nowhere, labels with such words are not what was meant."""


def named(query: str, *, places: Sequence[Place], narrowed: Sequence[Place], model: str | None = None) -> Named:
    """`places` are all sources that may be found, `narrowed` those that the filters leave."""
    text = query.strip().strip("<>\"'")
    if not text or "\n" in text:
        return Named()
    found = _meant(text, places=places, narrowed=narrowed, model=model)
    quoted = query.strip()[0] in "\"'"
    only = not quoted and (found.only or _NOTHING_BUT_A_NAME.fullmatch(text) is not None)
    return replace(found, only=only and bool(found.sentence))


def _meant(text: str, *, places: Sequence[Place], narrowed: Sequence[Place], model: str | None) -> Named:
    if match := _NUMBER.fullmatch(text):
        return _numbered(int(match[1]), narrowed)
    if match := _BARE.fullmatch(text):
        return _bare(match["source"], match["index"], narrowed, places=places)
    if " " in text and not _LIKE_A_NAME.match(text):
        return Named()
    models = list(dict.fromkeys(place.model for place in places))
    sentence = ""
    for given in (model, None) if model else (None, *models):
        known = {place.name for place in places if given in (None, place.model)}
        try:
            reference = parse_any(text, given, known=known)
            address = reference.address
        except UnknownName as error:
            sentence = sentence or str(error)
            continue
        return replace(_at_hand(address, places), only=True)
    return Named(sentence=sentence) if _LIKE_A_NAME.match(text) else Named()


def _numbered(index: int, narrowed: Sequence[Place]) -> Named:
    """A number alone is a feature only where the filters say of which source."""
    if len(narrowed) != 1 or index >= narrowed[0].width:
        return Named()
    return Named(addresses=(Address(narrowed[0].model, narrowed[0].name, index),))


def _bare(source: str, index: str | None, narrowed: Sequence[Place], *, places: Sequence[Place]) -> Named:
    same = [place for place in narrowed if place.name == source.lower()]
    number = None if index is None else int(index)
    if not same and any(place.name == source.lower() for place in places):
        return Named(sentence=f"The filters leave {source} out.", only=True)
    if not same:
        like = nearest(source, sorted({place.name for place in narrowed}))
        rest = f" Perhaps {', '.join(like)}?" if like else ""
        return Named(sentence=f"No source {source[:80]!r} is installed here.{rest}")
    fitting = [place for place in same if number is None or number < place.width]
    if not fitting:
        return Named(sentence=_past_the_end(same[0], number), only=True)
    addresses = tuple(Address(place.model, place.name, number) for place in fitting)
    return Named(addresses=addresses, certain=len(addresses) == 1)


def _at_hand(address: Address, places: Sequence[Place]) -> Named:
    """What was named, if it is here."""
    if address.source is None:
        if any(place.model == address.model for place in places):
            return Named(addresses=(address,), certain=True)
        return Named(sentence=f"Nothing of {address.model} is installed here.")
    here = [place for place in places if place.model == address.model]
    place = next((place for place in here if place.name == address.source), None)
    if place is None:
        like = nearest(address.source, sorted({place.name for place in here}))
        rest = f" Here are {', '.join(like)}." if like else ""
        return Named(
            sentence=f"{address.source} of {address.model} is not installed here; "
            f"`gemlens add {address.model}@{address.source}` installs it.{rest}"
        )
    if address.index is not None and address.index >= place.width:
        return Named(sentence=_past_the_end(place, address.index))
    return Named(addresses=(address,), certain=True)


def _past_the_end(place: Place, index: int | None) -> str:
    return f"{place.name} has {place.width:,} features, 0 to {place.width - 1}; not {index}."
