"""What a preview card shows, as plain frozen data. Rooms say it of their pages; `app/share` draws it as a picture."""

import msgspec


class Fact(msgspec.Struct, frozen=True):
    name: str
    value: str


class Heat(msgspec.Struct, frozen=True):
    """A piece of a text, with its level of heat from 0 to 15."""

    text: str
    level: int


class Card(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    place: str
    """Of what it is: model, source, number."""
    text: tuple[Heat, ...] = ()
    """One example, or the text that is read."""
    note: str = ""
    """What stands there instead where there is no text."""
    facts: tuple[Fact, ...] = ()
    bars: tuple[float, ...] = ()
    """Heights of a histogram, the highest 1."""
    bars_title: str = ""
    bars_from: str = ""
    bars_to: str = ""
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Short lists of tokens or labels, by their titles."""


def heights(bars: tuple[float, ...]) -> tuple[float, ...]:
    highest = max(bars, default=0.0)
    return tuple(round(bar / highest, 4) for bar in bars) if highest > 0 else ()
