"""Documents to passages: tokenised on the way, one after the other, cut wherever a passage is full."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.documents import Documents, TextTokenizer
from inference.errors import BadInput
from inference.training.stream import BOS, Passages


class PackedText:
    """Documents tokenised on the way and packed into passages, a BOS before each document."""

    def __init__(self, documents: Documents, *, tokenizer: TextTokenizer, passage_tokens: int) -> None:
        self._documents, self._tokenizer, self._tokens = documents, tokenizer, passage_tokens
        self._first: dict[str, Any] = {"place": documents.start, "carry": []}
        self._place: list[int] = documents.start
        self._carry: list[int] = []
        self._read = 0
        """Tokens of all text so far."""
        self._texts = documents.after(self._place)

    def held_out(self, passages: int) -> Passages:
        """The first passages. The rest of the document or piece of text that they end in is left out, unless what
        follows is less than that rest or less than a passage, as in a short text."""
        try:
            found = self._pack(passages, again=False)
        except StopIteration:
            raise self._too_short(self._read, passages) from None
        rest, self._carry = self._carry, []
        need = self._tokens - 1
        enough = max(len(rest), need)
        beyond = self._beyond(enough)
        if beyond < enough:
            self._carry = rest
            if len(rest) + beyond < need:
                raise self._too_short(self._read + beyond, passages)
        self._first = {"place": self._place, "carry": list(self._carry)}
        return found

    def _beyond(self, enough: int) -> int:
        """How many tokens follow, counted until they are enough."""
        count = 0
        for text, begins, _ in self._documents.after(self._place):
            count += len(self._ids(text, begins))
            if count >= enough:
                break
        return count

    def _too_short(self, tokens: int, passages: int) -> BadInput:
        return BadInput(
            f"The text has {tokens} tokens, and {(passages + 1) * self._tokens} are needed: {passages} passages of "
            f"{self._tokens} would be held out, and at least one is trained on. Give more text, fewer held-out tokens "
            "or shorter passages."
        )

    def take(self, passages: int) -> Passages:
        return self._pack(passages, again=True)

    def _pack(self, passages: int, *, again: bool) -> Passages:
        need = self._tokens - 1
        rows = []
        for _ in range(passages):
            while len(self._carry) <= need:
                self._carry.extend(self._more(again=again))
            if self._carry[0] == BOS:
                del self._carry[0]
            rows.append([BOS, *self._carry[:need]])
            del self._carry[:need]
        return np.array(rows, dtype=np.int64)

    def _more(self, *, again: bool) -> list[int]:
        began_again = False
        while True:
            following = next(self._texts, None)
            if following is None:
                if not again:
                    raise StopIteration
                if began_again:
                    raise BadInput("The source has no text, or none beyond what is held out. Give more text.")
                began_again = True
                self._place = self._first["place"]
                self._texts = self._documents.after(self._place)
                if self._first["carry"]:
                    return list(self._first["carry"])
                continue
            text, begins, self._place = following
            if ids := self._ids(text, begins):
                self._read += len(ids)
                return ids

    def _ids(self, text: str, begins: bool) -> list[int]:
        if not text:
            return []
        ids = self._tokenizer.encode(text)
        return ids if begins else ids[1:]

    def state(self) -> dict[str, Any]:
        return {"place": self._place, "carry": list(self._carry), "first": self._first}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._place, self._carry, self._first = list(state["place"]), list(state["carry"]), state["first"]
        self._texts = self._documents.after(self._place)
