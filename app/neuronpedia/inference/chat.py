"""Which part of a conversation each token belongs to. Pure: from messages and tokens to spans.

Gemma has no system turn: system text stands in the first user turn, so that turn's header belongs to the user's message
and what stands between the two texts to none (`scaffold`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.neuronpedia.inference.questions import Message
from app.neuronpedia.inference.tellings import Span
from inference.engine.protocol import Tokens, Turn
from inference.errors import BadInput

_ROLES: Mapping[str, str] = {
    "user": "user",
    "assistant": "model",
    "model": "model",
    "system": "system",
    "developer": "system",
}
ANSWERING_ROLE = "assistant"


class Segment(NamedTuple):
    text: str
    message: int | None
    role: str | None
    section: str


def turns(messages: Sequence[Message]) -> tuple[Turn, ...]:
    if not messages:
        raise BadInput("The conversation has no message. Give at least one, such as a user's.")
    for message in messages:
        if message.role not in _ROLES:
            raise BadInput(f"{message.role[:40]!r} is not a role. Roles are {', '.join(_ROLES)}.")
    return tuple(Turn(role=_ROLES[message.role], content=message.content) for message in messages)  # type: ignore[arg-type]


def segments(messages: Sequence[Message], *, generation_prompt: bool) -> list[Segment]:
    """The text behind BOS, in the pieces that it is put together from."""
    parts = []
    system = 1 if messages and _ROLES[messages[0].role] == "system" else 0
    for number, message in enumerate(messages[system:], system):
        parts.append(Segment(f"<start_of_turn>{_ROLES[message.role]}\n", number, message.role, "header"))
        if system and number == system:
            parts.append(Segment(messages[0].content, 0, messages[0].role, "content"))
            parts.append(Segment("\n\n", None, None, "scaffold"))
        parts.append(Segment(message.content.strip(), number, message.role, "content"))
        parts.append(Segment("<end_of_turn>\n", number, message.role, "footer"))
    if generation_prompt:
        parts.append(Segment("<start_of_turn>model\n", None, ANSWERING_ROLE, "header"))
    return parts


def spans(tokens: Tokens, parts: Sequence[Segment], *, first_role: str) -> list[Span]:
    """A token belongs where its first character stands; BOS to the first message's header."""
    found = [_span(tokens, 0, Segment("", 0, first_role, "header"))]
    part, end, at = 0, len(parts[0].text), 0
    for position, piece in enumerate(tokens.pieces[1:], 1):
        # A token that continues a character has no text of its own and stays with the character.
        while piece and at >= end and part + 1 < len(parts):
            part += 1
            end += len(parts[part].text)
        found.append(_span(tokens, position, parts[part]))
        at += len(piece)
    return found


def _span(tokens: Tokens, position: int, part: Segment) -> Span:
    return Span.model_construct(
        position=position,
        token_id=int(tokens.ids[position]),
        token_str=tokens.pieces[position],
        message_index=part.message,
        role=part.role,
        channel=None,
        section=part.section,
    )
