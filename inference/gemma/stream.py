"""Tokens to text as they come: a character split over several tokens is held back until it is whole."""

from inference.gemma.tokens import Tokenizer


class TextStream:
    """Everything pushed and then finished gives, joined, the text of `Tokenizer.pieces`."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._held: list[int] = []

    def push(self, token: int) -> str:
        """What this token adds to the text: empty while a character is not whole."""
        if self._tokenizer.byte_of(token) is None:
            return self.finish() + "".join(self._tokenizer.pieces([token]))
        self._held.append(token)
        whole = ""
        while self._held and len(self._held) >= self._tokenizer.tokens_needed(self._held[0]):
            character, length = self._tokenizer.character(self._held, 0)
            del self._held[:length]
            whole += character
        return whole

    def finish(self) -> str:
        """What was held back, where no further token follows."""
        held, self._held = self._held, []
        return "".join(self._tokenizer.pieces(held))
