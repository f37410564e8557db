"""Sets of prompts as people bring them: lines, blocks, JSON lines or a table, pasted or from a file; read into plain
prompts, and written back so that reading gives the same again.

A prompt is a text, or a chat by turns. Whatever cannot be one is told with its number in its set.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, get_args

from inference.engine import protocol
from inference.errors import BadInput

Form = Literal["auto", "lines", "blocks", "jsonl", "csv"]
FORMS: tuple[Form, ...] = get_args(Form)
ENDINGS: dict[str, Form] = {".txt": "auto", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
"""Of files, and what they hold."""
ROLES = {"user": "user", "model": "model", "assistant": "model", "system": "system"}
COLUMNS = ("prompt", "text", "question", "instruction", "input")
"""Names that the column of prompts may have, the first of them that there is."""
MAX_CHARACTERS = 20_000
"""Of one prompt: none that is longer fits the engine."""

_RULE = re.compile(r"^---[ \t]*$", re.MULTILINE)
_GAP = re.compile(r"\n[ \t]*\n\s*")


class Turn(NamedTuple):
    role: str
    content: str


class Item(NamedTuple):
    """One prompt: a text or turns."""

    text: str = ""
    turns: tuple[Turn, ...] = ()

    @property
    def shown(self) -> str:
        return self.text or "\n".join(f"{turn.role}: {turn.content}" for turn in self.turns)

    def asked(self, *, chat: bool) -> protocol.Prompt:
        """As the engine is asked. `chat` makes a text what a user says."""
        turns = self.turns or ((Turn("user", self.text),) if chat else ())
        if not turns:
            return protocol.Prompt(text=self.text)
        return protocol.Prompt(
            turns=tuple(protocol.Turn(role=turn.role, content=turn.content) for turn in turns),  # type: ignore[arg-type]
            generation_prompt=turns[-1].role == "user",
        )


def read(text: str, form: Form, *, name: str) -> tuple[Item, ...]:
    """The prompts of a set; `name` is the set's, for sentences."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if "\x00" in text:
        raise BadInput(f"Set {name} holds a NUL character, which is no text. Leave it out.")
    if not text.strip():
        return ()
    if form == "auto":
        form = _form_of(text)
    if form == "csv":
        return checked((Item(cell) for cell in _cells(text, name=name)), name=name)
    if form == "jsonl":
        return checked(
            (item(_json(line, number, name), f"Line {number} of set {name}")
             for number, line in enumerate(text.split("\n"), 1) if line.strip()),
            name=name,
        )  # fmt: skip
    if form == "blocks":
        ruled = _RULE.search(text) is not None
        parts = _RULE.split(text) if ruled else _GAP.split(text.strip("\n"))
        if ruled:
            # A rule may also stand before the first block and behind the last.
            parts = parts[0 if parts[0].strip() else 1 : None if parts[-1].strip() else -1]
        return checked((Item(part.strip("\n")) for part in parts), name=name)
    return checked((Item(line.strip()) for line in text.split("\n") if line.strip()), name=name)


def checked(items: Iterable[Item], *, name: str) -> tuple[Item, ...]:
    """The items, unless one of them is empty or too long."""
    found = tuple(items)
    for number, one in enumerate(found, 1):
        if not one.text.strip() and not any(turn.content.strip() for turn in one.turns):
            raise BadInput(f"Prompt {number} of set {name} is empty. Write something there, or leave it out.")
        for turn in one.turns:
            if not turn.content.strip():
                raise BadInput(f"A turn of prompt {number} of set {name} is empty. Every turn says something.")
        if (length := len(one.shown)) > MAX_CHARACTERS:
            raise BadInput(
                f"Prompt {number} of set {name} has {length:,} characters; {MAX_CHARACTERS:,} is the most. Shorten it."
            )
    return found


def item(value: Any, where: str) -> Item:
    """From JSON: a string, a list of turns, or an object that has one of them."""
    if isinstance(value, dict):
        named = next((value[name] for name in (*COLUMNS, "turns", "messages") if name in value), None)
        if named is None:
            raise BadInput(f'{where} has no prompt: write {{"text": "…"}} or {{"turns": [{{"role": "user", …}}]}}.')
        value = named
    if isinstance(value, str):
        return Item(_text(value, where))
    if isinstance(value, list | tuple) and value:
        return Item(turns=tuple(_turn(one, where) for one in value))
    raise BadInput(f"{where} is no prompt: a string, or a list of turns with role and content, is one.")


def written(items: Sequence[Item]) -> str:
    """The set as text, in the shortest form that `auto` reads back."""
    if any(one.turns for one in items):
        return "\n".join(json.dumps(plain(one), ensure_ascii=False) for one in items)
    for text in ("\n".join(one.text for one in items), "\n---\n".join(one.text for one in items)):
        if text.strip() and _same(text, items):
            return text
    return "\n".join(json.dumps(one.text, ensure_ascii=False) for one in items)


def plain(one: Item) -> Any:
    """As JSON: a string, or a list of turns."""
    return one.text if not one.turns else [{"role": turn.role, "content": turn.content} for turn in one.turns]


def _same(text: str, items: Sequence[Item]) -> bool:
    try:
        return read(text, "auto", name="") == tuple(items)
    except BadInput:
        return False


def _form_of(text: str) -> Form:
    if _RULE.search(text):
        return "blocks"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if all(line[0] in '{["' and line[-1] in '}]"' for line in lines):
        try:
            for line in lines:
                json.loads(line)
        except (ValueError, RecursionError):
            return "lines"
        return "jsonl"
    return "lines"


def _json(line: str, number: int, name: str) -> Any:
    try:
        return json.loads(line)
    except RecursionError:
        raise BadInput(f"Line {number} of set {name} is nested too deep to be a prompt.") from None
    except ValueError as error:
        raise BadInput(f"Line {number} of set {name} is no JSON: {error}.") from None


def _cells(text: str, *, name: str) -> list[str]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except csv.Error as error:
        raise BadInput(f"Set {name} cannot be read as CSV: {error}.") from None
    head = [cell.strip().lower() for cell in rows[0]]
    column = next((head.index(known) for known in COLUMNS if known in head), None)
    if column is not None:
        rows = rows[1:]
    elif len(head) > 1:
        raise BadInput(f"Set {name} has {len(head)} columns. Call the one with the prompts “prompt” in its first row.")
    else:
        column = 0
    return [row[column] if column < len(row) else "" for row in rows]


def _turn(value: Any, where: str) -> Turn:
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        raise BadInput(f'{where}: a turn is written {{"role": "user", "content": "…"}}.')
    role = ROLES.get(str(value.get("role")))
    if role is None:
        raise BadInput(f"{where}: {str(value.get('role'))[:40]!r} is no role of a turn; write user, model or system.")
    return Turn(role, _text(value["content"], where))


def _text(value: str, where: str) -> str:
    if "\x00" in value:
        raise BadInput(f"{where} holds a NUL character, which is no text. Leave it out.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{where} holds half of a surrogate pair, which is no character.") from None
    return value.replace("\r\n", "\n")
