"""What each route of the wire does about BOS, rounding and directions: the one place where this is decided.

The routes take their rule from here, and `docs/inference-wire.md` holds the same table (`table`), so neither can drift.
Neuronpedia's server does something else at nearly every route; these are the intended answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

First = Literal["none", "kept", "dropped", "muted", "dropped_if_asked", "muted_if_asked"]

_FIRST: Mapping[First, str] = {
    "none": "",
    "kept": "kept",
    "dropped": "left out of tokens and values, which count from the token after it; a further `<bos>` has value 0",
    "muted": "kept among the tokens, its values left out",
    "dropped_if_asked": "kept; `ignoreBos` leaves it out, and positions still count from it",
    "muted_if_asked": "kept among the tokens; `ignoreBos` makes its values 0",
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    first: First = "none"
    """What becomes of the first position of a text, which is always BOS."""
    decimals: int | None = None
    """Of values; None leaves them as they were computed, in float32."""
    only_16_bit: bool = False
    """Rounds only where the model computed in a 16-bit format."""
    vector: str = ""
    """Which direction is meant, where the route speaks of one."""

    def drops_first(self, *, ignore_bos: bool = False) -> bool:
        return self.first == "dropped" or (self.first == "dropped_if_asked" and ignore_bos)

    def mutes_first(self, *, ignore_bos: bool = False) -> bool:
        return self.first == "muted" or (self.first == "muted_if_asked" and ignore_bos)

    def rounded(self, values: np.ndarray, *, dtype: str = "") -> np.ndarray:
        """As float64, because JSON's numbers are: a float32 rounded to 3 decimals would show eight of them."""
        wide = values.astype(np.float64)
        if self.decimals is None or (self.only_16_bit and dtype == "float32"):
            return wide
        return np.round(wide, self.decimals)


FEATURE = "the feature's encoder, its value times the length of its decoder row"
RULES: Mapping[str, Rule] = {
    "tokenize": Rule(first="kept"),
    "apply-chat-template": Rule(first="kept"),
    "activation/single": Rule(first="dropped", vector=FEATURE),
    "activation/single, vector": Rule(first="kept", vector="the vector as it is given, not made a unit vector"),
    "activation/all": Rule(first="muted_if_asked", vector=FEATURE),
    "activation/topk-by-token": Rule(first="dropped_if_asked", vector=FEATURE),
    "activation/source": Rule(first="muted", decimals=3, vector=FEATURE),
    "activation/raw": Rule(first="kept", decimals=4, only_16_bit=True),
    "util/sae-vector": Rule(
        vector="the encoder's column times the length of the decoder row, at the site that is read (`hookName`)"
    ),
    "util/sae-topk-by-decoder-cossim": Rule(
        vector="the decoder's unit row, of `feature.source`, or the vector given; compared with those of `source`"
    ),
}
"""By route; a batch follows the rule of its single form."""


def table() -> str:
    """As the documentation shows it."""
    lines = ["| route | BOS, the first position | rounding | which vector |", "| --- | --- | --- | --- |"]
    for route, rule in RULES.items():
        rounding = "none" if rule.decimals is None else f"{rule.decimals} decimals"
        if rule.only_16_bit:
            rounding += ", where the model computes in 16 bits"
        lines.append(
            f"| `{route.partition(',')[0]}`{_rest(route)} | {_FIRST[rule.first]} | {rounding} | {rule.vector} |"
        )
    return "\n".join(lines) + "\n"


def _rest(route: str) -> str:
    _, comma, rest = route.partition(",")
    return f"{comma}{rest}"
