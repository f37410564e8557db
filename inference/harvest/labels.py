"""Labels without a language model: a plain description of a feature from the tokens it fires on and promotes.

It says what was counted and no more, so that search finds something from the first minute. Spellings of one token that
differ in a leading space or in capitals are counted together.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

METHOD = "token-pattern"

MOST_TOKENS = 5
COVERED = 0.6
"""Tokens are listed until they make up this share of what the listed ten have together."""
SPREAD = 0.15
"""Below this share of all activation, the ten tokens say little about the feature."""
MOST_CHARACTERS = 24
AFFIX = 3
"""Letters that words must have in common at their end or beginning to be described by them."""

_BLANKS = {"\n": "line breaks", " ": "spaces", "\t": "tabs", "\r": "line breaks"}


@dataclass(frozen=True)
class Weighed:
    """A token's text with its share of the feature's activation, or its logit."""

    text: str
    weight: float


def describe(fires_on: Sequence[Weighed], promotes: Sequence[Weighed]) -> str | None:
    """A label, or None for a feature that never fired. Both sequences come greatest first."""
    spellings = _together(fires_on)
    if not spellings:
        return None
    listed = _until_covered(spellings)
    share = sum(weight for _, weight in spellings)
    common = _common(spellings)
    names = _listed([name for name, _ in listed])
    if share < SPREAD:
        sentence = f"Many different tokens, among them {names}"
    elif common:
        sentence = f"{common}: {names}"
    else:
        sentence = names
    promoted = _listed([name for name, _ in _together(promotes)][:3])
    return f"{sentence}; promotes {promoted}" if promoted else sentence


def _together(tokens: Sequence[Weighed]) -> list[tuple[str, float]]:
    """Names as shown and their weights, greatest first."""
    weights: dict[str, float] = {}
    spelt: dict[str, Counter[str]] = {}
    for token in tokens:
        if token.weight <= 0:
            continue
        shown = shown_as(token.text)
        key = shown.casefold()
        weights[key] = weights.get(key, 0.0) + token.weight
        spelt.setdefault(key, Counter())[shown] += token.weight  # type: ignore[assignment]
    names = {key: min(counts, key=lambda name: (-counts[name], name)) for key, counts in spelt.items()}
    return sorted(((names[key], weight) for key, weight in weights.items()), key=lambda each: (-each[1], each[0]))


def shown_as(text: str) -> str:
    """A token as a word in quotes, or what it is where it cannot be seen."""
    if not text or "\ufffd" in text:
        return "parts of characters"
    if not text.strip():
        return _BLANKS.get(text.strip(" ")[:1] or text[0], "blanks")
    seen = "".join(c if c.isprintable() else "\ufffd" for c in text.strip())
    return f"“{seen[: MOST_CHARACTERS - 1]}…”" if len(seen) > MOST_CHARACTERS else f"“{seen}”"


def _until_covered(spellings: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    whole = sum(weight for _, weight in spellings)
    listed: list[tuple[str, float]] = []
    for each in spellings[:MOST_TOKENS]:
        listed.append(each)
        if sum(weight for _, weight in listed) >= COVERED * whole and len(listed) > 1:
            break
    return listed


def _common(spellings: Sequence[tuple[str, float]]) -> str | None:
    """What nearly all of the tokens have in common, where three or more do."""
    words = [name[1:-1] for name, _ in spellings if name.startswith("“")]
    if len(words) < 3 or len(words) < 0.8 * len(spellings):
        return None
    for name, holds in (("Numbers", str.isnumeric), ("Punctuation and symbols", _is_symbols)):
        if _nearly_all([holds(word) for word in words]):
            return name
    if (script := _script(words)) is not None:
        return f"{script} script"
    folded = [word.casefold() for word in words if word.isalpha()]
    if len(folded) >= 0.8 * len(words) and len(folded) >= 3:
        for ending in (True, False):
            if affix := _affix(folded, ending=ending):
                return f"Words ending in “-{affix}”" if ending else f"Words beginning with “{affix}-”"
    return None


def _nearly_all(holds: Sequence[bool]) -> bool:
    return sum(holds) >= 0.8 * len(holds)


def _is_symbols(word: str) -> bool:
    return all(unicodedata.category(c)[0] in "PS" for c in word)


def _script(words: Sequence[str]) -> str | None:
    """The script of most words where it is not the Latin one, as Unicode names it."""
    scripts = Counter(unicodedata.name(word[0], "").split(" ")[0].split("-")[0].capitalize() for word in words)
    script, count = min(scripts.items(), key=lambda each: (-each[1], each[0]))
    letters = all(word[0].isalpha() for word in words)
    return script if letters and script not in ("", "Latin") and count >= 0.8 * len(words) else None


def _affix(words: Sequence[str], *, ending: bool) -> str | None:
    """The longest ending or beginning, of at least `AFFIX` letters, of nearly all words; a whole word is none."""
    parts: Counter[str] = Counter()
    for word in set(words):
        for length in range(AFFIX, len(word)):
            parts[word[-length:] if ending else word[:length]] += 1
    enough = [part for part, count in parts.items() if count >= max(3, 0.8 * len(set(words)))]
    return min(enough, key=lambda part: (-len(part), part), default=None)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
