"""Text and chat turns to token ids, and ids back to the pieces that people read.

Three promises: a prompt begins with exactly one BOS; the pieces of a prompt, joined, are its text, special tokens
written out; a character that the tokenizer splits over several byte tokens stands at the first of them, and the
others are empty. (Gemma's vocabulary writes a space as U+2581, so a U+2581 in the text itself is read as a space.)

The tokenizer is the `tokenizers` library's own, read from tokenizer.json. Its post-processor and any chat template
beside it are not used: files differ in whether they add a BOS, and base models come without a template (`text`).
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import tokenizers

from inference.errors import BadInput, NotFound
from inference.gemma.text import Turn, check_text, turns_as_text, utf8_length

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Tokenizer:
    """One model's tokenizer. Made from a folder by `from_folder`."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.vocabulary = tokenizer.get_vocab_size(with_added_tokens=True)
        self.bos = self._required("<bos>")
        self.eos = self._required("<eos>")
        self.pad = self._required("<pad>")
        self.start_of_turn = self._required("<start_of_turn>")
        self.end_of_turn = self._required("<end_of_turn>")
        self._special = frozenset(i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special)

    @classmethod
    def from_folder(cls, folder: Path) -> "Tokenizer":
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise NotFound(f"There is no tokenizer.json in {folder}. A model folder needs one beside its weights.")
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)))
        except BadInput:
            raise
        except Exception as error:
            raise BadInput(f"{path} could not be read as a tokenizer: {error}") from error

    def encode(self, text: str) -> list[int]:
        """Ids of a text, beginning with exactly one BOS, which the text may also spell out as `<bos>`."""
        check_text(text)
        ids = self._plain(text)
        return ids if ids[:1] == [self.bos] else [self.bos, *ids]

    def encode_turns(self, turns: Sequence[Turn], generation_prompt: bool = True) -> list[int]:
        """Ids of a conversation in Gemma's format; `generation_prompt` ends it with the header of the model's turn."""
        return [self.bos, *self._plain(turns_as_text(turns, generation_prompt))]

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """What each token adds to the text. Bytes that are no character show as U+FFFD."""
        ids = list(ids)
        pieces = [self._table[i] if 0 <= i < len(self._table) else "" for i in ids]
        position = 0
        while position < len(ids):
            if ids[position] not in self._bytes:
                position += 1
                continue
            character, length = self.character(ids, position)
            pieces[position : position + length] = [character] + [""] * (length - 1)
            position += length
        return pieces

    def character(self, ids: Sequence[int], start: int) -> tuple[str, int]:
        """The character that begins at a byte token, and over how many tokens it goes."""
        length = self.tokens_needed(ids[start])
        run = ids[start : start + length]
        if len(run) == length and all(i in self._bytes for i in run):
            try:
                return bytes(self._bytes[i] for i in run).decode(), length
            except UnicodeDecodeError:
                pass
        return "\ufffd", 1

    def tokens_needed(self, byte_token: int) -> int:
        """Over how many byte tokens a character goes, by its first."""
        return utf8_length(self._bytes[byte_token])

    def special(self, ids: Iterable[int]) -> list[bool]:
        """Which tokens are control tokens, such as BOS and the marks of a turn."""
        return [i in self._special for i in ids]

    def untrained(self, ids: Sequence[int]) -> int:
        """How many of the first positions lie outside what dictionaries were trained on: BOS, and at the beginning of
        a chat the header of the first user turn."""
        beginning = list(ids[:4])
        if beginning == self._chat_header:
            return 4
        return 1 if beginning[:1] == [self.bos] else 0

    def byte_of(self, token: int) -> int | None:
        """The byte that a byte token stands for; None for all other tokens."""
        return self._bytes.get(token)

    def id_of(self, token: str) -> int | None:
        """The id of a token by its name in the vocabulary."""
        found: int | None = self._tokenizer.token_to_id(token)
        return found

    @cached_property
    def _chat_header(self) -> list[int]:
        return [self.bos, *self.header_of_user]

    @cached_property
    def header_of_user(self) -> tuple[int, ...]:
        """The tokens that begin a turn of the user."""
        return tuple(self._plain("<start_of_turn>user\n"))

    @cached_property
    def _names(self) -> list[str]:
        """Every token's name in the vocabulary, by id."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        names = [""] * (max(vocabulary.values()) + 1)
        for name, number in vocabulary.items():
            names[number] = name
        return names

    @cached_property
    def _table(self) -> list[str]:
        """The text of every token that is not a byte."""
        return [name.replace("\u2581", " ") for name in self._names]

    @cached_property
    def _bytes(self) -> dict[int, int]:
        return {i: int(match[1], 16) for i, name in enumerate(self._names) if (match := _BYTE.fullmatch(name))}

    def _required(self, token: str) -> int:
        found = self.id_of(token)
        if found is None:
            raise BadInput(f"The tokenizer has no {token}, so it is not a Gemma 3 tokenizer.")
        return found
