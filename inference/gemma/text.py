"""What may be a prompt, and how a conversation becomes one. No tokenizer is needed for it."""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from inference.errors import BadInput

_SURROGATE = re.compile("[\ud800-\udfff]")

_ROLES: Mapping[str, str] = {"user": "user", "model": "model", "assistant": "model", "system": "system"}


class Turn(Protocol):
    """One turn of a conversation. Roles are user, model (or assistant) and, at the beginning only, system."""

    @property
    def role(self) -> str: ...

    @property
    def content(self) -> str: ...


def check_text(text: str) -> None:
    """Refuses what cannot be a prompt."""
    if not text:
        raise BadInput("The text is empty. Give at least one character.")
    if "\0" in text:
        raise BadInput(f"The text has a NUL character at position {text.index(chr(0))}. Remove it.")
    if match := _SURROGATE.search(text):
        raise BadInput(
            f"The text has half of a surrogate pair (U+{ord(match[0]):04X}) at position {match.start()}, which is no "
            "character. Send valid Unicode."
        )


def turns_as_text(turns: Sequence[Turn], generation_prompt: bool) -> str:
    """A conversation as Gemma was trained on it, without the BOS. Gemma has no system turn: system text stands at the
    beginning of the first user turn."""
    roles = [_role(turn) for turn in turns]
    for turn in turns:
        check_text(turn.content)
    has_system = roles[:1] == ["system"]
    said = list(zip(roles, turns, strict=True))[1:] if has_system else list(zip(roles, turns, strict=True))
    if not said:
        raise BadInput("The conversation has no user turn. Give at least one.")
    written = []
    for number, (role, turn) in enumerate(said):
        expected = "model" if number % 2 else "user"
        if role != expected:
            raise BadInput(
                f"Turn {number + 1 + has_system} is the {role}'s, and the {expected}'s is expected: user and model "
                "take turns, the user first, and a system turn stands before them all."
            )
        prefix = f"{turns[0].content}\n\n" if has_system and number == 0 else ""
        written.append(f"<start_of_turn>{role}\n{prefix}{turn.content.strip()}<end_of_turn>\n")
    return "".join(written) + ("<start_of_turn>model\n" if generation_prompt else "")


def _role(turn: Turn) -> str:
    role = _ROLES.get(turn.role)
    if role is None:
        raise BadInput(f"{turn.role[:40]!r} is not a role. Roles are user, model (or assistant) and system.")
    return role


def utf8_length(first: int) -> int:
    """How many bytes a character has, by its first. A byte that begins no character counts as one."""
    if first < 0xC2 or first > 0xF4:
        return 1
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4
