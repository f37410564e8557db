"""Examples of a feature as pages draw them: a part of a text with heat, an element only where something fires.

Several rooms show them (a feature's page, embeds, cards, search), so what is drawn is decided and drawn here once. Only
the tokens of the part that is shown are made into text: a page
holds dozens of examples of hundreds of tokens each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Literal, get_args

import msgspec
import numpy as np
from markupsafe import Markup

from app.store.features import Bands, Example
from app.store.tokens import pieces
from app.web import heat, numbers, tokens
from inference.errors import BadInput

Context = Literal["snippet", "stacked", "full"]
CONTEXTS: tuple[Context, ...] = get_args(Context)
BEFORE, AFTER = 18, 12
"""Tokens of a snippet, besides the one of the peak."""
STACKED = 14
"""Tokens on either side where examples stand one below the other, their peaks in one column."""
BOS = 2
"""The token that begins a text of Gemma, and is no text."""
SPOKEN = 40
"""Tokens that are read out of one example; the data has all of them."""
CHARACTER = 3
"""Tokens that the first one of a snippet may need before it, when a character was split over four."""


class Spot(msgspec.Struct, frozen=True):
    """One token that fires, or silent neighbours as one."""

    text: str
    level: int
    """Heat, 0 to 15; 0 is silent."""
    value: float | None
    """None where nothing fires, or on several tokens."""
    position: int
    """Of the first token in its passage; BOS is position 0."""
    id: int | None
    """Of the token that fires."""


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an example that is shown."""

    passage: int
    peak: float
    position: int
    """Of the peak."""
    spots: tuple[Spot, ...]
    first: int
    """Position where the part begins."""
    length: int
    """Tokens of the part."""
    total: int
    """Tokens of the passage."""
    fires_on: int
    """Tokens of the whole passage."""
    text: str
    """Of the part, without heat."""
    times: int = 1
    """How many examples show this same part; only the strongest of them is drawn."""

    @property
    def cut_before(self) -> bool:
        return self.first > 1

    @property
    def cut_after(self) -> bool:
        return self.first + self.length < self.total

    @property
    def firing(self) -> tuple[Spot, ...]:
        return tuple(spot for spot in self.spots if spot.level)

    @property
    def peak_spot(self) -> Spot | None:
        return next((spot for spot in self.spots if spot.level and spot.position == self.position), None)

    def marked(self) -> Markup:
        """Its text with heat, for a template."""
        return marked(self.spots)

    def stacked(self) -> tuple[Markup, Markup, Markup]:
        """The same on one line: what is before the peak, the peak, what comes after."""
        peak = self.peak_spot
        return marked(self.left, flat=True), marked((peak,) if peak else (), flat=True), marked(self.right, flat=True)

    def spoken(self) -> Markup:
        return spoken(self.spots)

    def drawn(self, context: Context) -> Markup:
        """For a template."""
        return Markup(self.written(context))

    def written(self, context: Context) -> str:
        """All of it as HTML, heat and the same in words for those who do not see colours. Here and not in a template
        because a page has dozens."""
        if context == "stacked" and self.peak_spot:
            left, peak, right = self.stacked()
            text = (
                f'<p class="heat stacked" dir="auto"><span class="left"><bdi>{left}</bdi></span>{peak}'
                f'<span class="right"><bdi>{right}</bdi></span></p>'
            )
        else:
            before, after = "…" if self.cut_before else "", "…" if self.cut_after else ""
            text = f'<p class="heat" dir="auto">{before}{_marked(self.spots)}{after}</p>'
        peak_value = numbers.value(self.peak)
        spoken_of = f"Peak {peak_value} at position {self.position}; fires on {_spoken(self.spots)}."
        return f'{text}\n<p class="unseen">{spoken_of}</p>\n'

    @property
    def left(self) -> tuple[Spot, ...]:
        return tuple(spot for spot in self.spots if spot.position < self.position)

    @property
    def right(self) -> tuple[Spot, ...]:
        return tuple(spot for spot in self.spots if spot.position > self.position)


@dataclass(frozen=True, kw_only=True)
class DrawnBand:
    """The examples of one band."""

    band: int
    """0: the strongest; then intervals of activation from high to low."""
    low: float
    high: float
    share: float | None
    """Of all the feature's firings, those of this interval."""
    examples: tuple[Drawn, ...]
    stored: int
    """How many examples there are, folded ones included."""

    def items(self, context: Context, *, trying: str | None) -> Markup:
        """Its examples as items of a list. `trying`: the address where a passage of them can be tried, if any."""
        link = None if trying is None else escape(f"{trying}{'&' if '?' in trying else '?'}passage=")
        return Markup("".join([_item(one, context, link) for one in self.examples]))


def _item(one: Drawn, context: Context, trying: str | None) -> str:
    where = f"Peak, at position {one.position} of passage {one.passage}"
    times = f' <span class="times" title="{one.times} examples show this same text">×{one.times}</span>'
    link = ""
    if trying is not None:
        said = f'try<span class="unseen"> passage {one.passage}</span>'
        link = f' <a href="{trying}{one.passage}" rel="nofollow">{said}</a>'
    return (
        f'<li>\n{one.written(context)}<p class="beside"><span title="{where}">{numbers.value(one.peak)}</span>'
        f"{times if one.times > 1 else ''}{link}</p>\n</li>\n"
    )


def parse_context(written: str) -> Context:
    """From an address; nothing means the snippet."""
    for context in CONTEXTS:
        if written == context or (not written and context == "snippet"):
            return context
    raise BadInput(f"{written[:40]!r} is no way of showing examples; write {', '.join(CONTEXTS)}.")


def ids_shown(bands: Iterable[Bands], context: Context) -> set[int]:
    """The tokens whose text `draw_bands` needs: ask `app.store.tokens.texts` for them."""
    found: set[int] = set()
    for band in bands:
        for example in band.examples:
            first, after = _part(example, context)
            found.update(example.ids[max(0, first - CHARACTER) : after + CHARACTER].tolist())
    return found


def draw_bands(
    bands: Iterable[Bands],
    known: Mapping[int, str],
    *,
    peak: float,
    context: Context = "snippet",
    most: int | None = None,
) -> tuple[DrawnBand, ...]:
    """Every band with what is shown of it, at most the `most` strongest examples each. Heat is linear up to `peak`,
    the same for all, so that bands compare."""
    return tuple(
        DrawnBand(
            band=band.band,
            low=band.low,
            high=band.high,
            share=band.share,
            examples=fold(draw(example, known, peak=peak, context=context) for example in band.examples[:most]),
            stored=len(band.examples),
        )
        for band in bands
    )


def draw(example: Example, known: Mapping[int, str], *, peak: float, context: Context = "snippet") -> Drawn:
    """One example. `known` maps token ids to their text."""
    first, after = _part(example, context)
    # A character that was split over tokens stands at the first of them, so the text is made from a little earlier.
    start = max(0, first - CHARACTER)
    ids = example.ids[start : after + CHARACTER].tolist()
    texts = pieces(ids, known)[first - start : after - start]
    values = example.values[first:after]
    return Drawn(
        passage=example.passage,
        peak=example.peak,
        position=example.position,
        spots=spots(texts, values, example.ids[first:after], peak=peak, start=first, whole=example.position),
        first=first,
        length=after - first,
        total=len(example.ids),
        fires_on=int(np.count_nonzero(example.values > 0)),
        text="".join(texts),
    )


def spots(
    texts: list[str], values: np.ndarray, ids: np.ndarray, *, peak: float, start: int, whole: int | None = None
) -> tuple[Spot, ...]:
    """Tokens as spots. Silent ones are joined, except over the position `whole`, which stays by itself."""
    found: list[Spot] = []
    cuts = sorted({*np.flatnonzero(values > 0).tolist(), *(() if whole is None else (whole - start,))})
    done = 0
    for place in cuts:
        if not 0 <= place < len(texts):
            continue
        if done < place:
            found.append(Spot("".join(texts[done:place]), 0, None, start + done, None))
        value = float(values[place])
        level = heat.level(value, peak=peak)
        found.append(Spot(texts[place], level, value if level else None, start + place, int(ids[place])))
        done = place + 1
    if done < len(texts):
        found.append(Spot("".join(texts[done:]), 0, None, start + done, None))
    return tuple(found)


def _written(text: str) -> str:
    shown = tokens.glyphs(text)
    return escape(shown, quote=False) if "<" in shown or "&" in shown or ">" in shown else shown


_token = lru_cache(maxsize=32_768)(_written)
"""The same tokens come again and again, runs of silent ones do not."""


def marked(list_of: Iterable[Spot], *, flat: bool = False) -> Markup:
    """Spots as HTML: an element with what is to be known of it for each token that fires, `flat` without line breaks.

    Written here and not in a template because a page has a thousand of them."""
    return Markup(_marked(list_of, flat=flat))


def _marked(list_of: Iterable[Spot], *, flat: bool = False) -> str:
    written = []
    for spot in list_of:
        if spot.value is None:
            written.append(_written(spot.text))
        else:
            where = f"{numbers.value(spot.value)} · token {spot.id} · position {spot.position}"
            written.append(f'<mark class="h{spot.level}" title="{where}">{_token(spot.text)}</mark>')
    text = "".join(written)
    return text.replace("\n", "") if flat else text


def spoken(list_of: Iterable[Spot], *, most: int = SPOKEN) -> Markup:
    """Where something fires, in words, for those who do not see colours."""
    return Markup(_spoken(list_of, most=most))


def _spoken(list_of: Iterable[Spot], *, most: int = SPOKEN) -> str:
    firing = [spot for spot in list_of if spot.value is not None]
    words = ", ".join([f"{_token(spot.text)} {numbers.value(spot.value)}" for spot in firing[:most]])
    return words + (f" and {len(firing) - most} more" if len(firing) > most else "")


def fold(drawn: Iterable[Drawn]) -> tuple[Drawn, ...]:
    """Examples that show the same text become one, the first of them, which says how many there are."""
    kept: dict[str, Drawn] = {}
    times: dict[str, int] = {}
    for one in drawn:
        kept.setdefault(one.text, one)
        times[one.text] = times.get(one.text, 0) + 1
    return tuple(
        one if times[text] == 1 else msgspec.structs.replace(one, times=times[text]) for text, one in kept.items()
    )


def _part(example: Example, context: Context) -> tuple[int, int]:
    """From which token to which. A snippet at an end of its passage reaches further on the other side."""
    total = len(example.ids)
    begin = 1 if total > 1 and example.position > 0 and example.ids[0] == BOS else 0
    if context == "full":
        return begin, total
    if context == "stacked":
        return max(begin, example.position - STACKED), min(total, example.position + STACKED + 1)
    length = BEFORE + AFTER + 1
    first = max(begin, min(example.position - BEFORE, total - length))
    return first, min(total, first + length)
