"""The text of tokens that come one by one: a character split over byte tokens is told once it is whole."""

from inference.gemma.tokens import Tokenizer, utf8_length


class PieceStream:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._held: list[int] = []

    def add(self, token: int, *, last: bool = False) -> str:
        """What becomes known with this token. `last` tells everything, whole or not."""
        self._held.append(token)
        said = ""
        while self._held and (last or self._whole()):
            pieces = self._tokenizer.pieces(self._held[: self._length()])
            said += pieces[0]
            # A character has its other tokens empty; bytes that are none stand for themselves, one by one.
            del self._held[: len(pieces) if not any(pieces[1:]) else 1]
        return said

    def _length(self) -> int:
        byte = self._tokenizer.byte_of(self._held[0])
        return 1 if byte is None else utf8_length(byte)

    def _whole(self) -> bool:
        held_bytes_only = all(self._tokenizer.byte_of(token) is not None for token in self._held)
        return len(self._held) >= self._length() or not held_bytes_only
