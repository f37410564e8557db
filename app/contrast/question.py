"""What a contrast was asked: two sets of prompts, over which sources, and how a prompt becomes one number.

Parsed from a form, from JSON or from a saved view's body, checked as far as that needs no tokenizer, and written back
as a body. The result follows from this record and the weights alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from app.web import prompts
from app.web.prompts import Item
from inference.errors import BadInput

Pooling = Literal["max", "mean", "position", "user_turn"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
MAX_PROMPTS = 1000
"""In one set."""
MAX_NAME = 40
MAX_SEED = 10**9
MAX_FROM_END = 1024


@dataclass(frozen=True, kw_only=True)
class Contrast:
    a: tuple[Item, ...] = ()
    b: tuple[Item, ...] = ()
    name_a: str = "A"
    name_b: str = "B"
    sources: tuple[str, ...] = ()
    """Ids; none means every source that is loaded."""
    pooling: Pooling = "max"
    from_end: int = 1
    """For `position`: 1 is the last token."""
    chat: bool = False
    """Texts are asked as what a user says."""
    seed: int = 0
    dropped: tuple[str, ...] = field(default=())
    """What was left out of the sets, in sentences."""

    @property
    def prompts(self) -> tuple[Item, ...]:
        return (*self.a, *self.b)

    def body(self) -> dict[str, Any]:
        """What a saved view keeps."""
        return {
            "a": [prompts.plain(one) for one in self.a],
            "b": [prompts.plain(one) for one in self.b],
            "name_a": self.name_a,
            "name_b": self.name_b,
            "sources": list(self.sources),
            "pooling": self.pooling,
            "from_end": self.from_end,
            "chat": self.chat,
            "seed": self.seed,
            "dropped": list(self.dropped),
        }


def from_body(body: Mapping[str, Any]) -> Contrast:
    """Of a saved view, or of JSON that a program sent."""
    kept = {name: body[name] for name in ("from_end", "seed") if name in body}
    for name, value in kept.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise BadInput(f"{name} is a whole number, not {str(value)[:40]!r}.")
    sources = body.get("sources") or []
    if not isinstance(sources, list) or not all(isinstance(one, str) for one in sources):
        raise BadInput("sources is a list of source ids.")
    return Contrast(
        a=_set(body.get("a"), "A"),
        b=_set(body.get("b"), "B"),
        name_a=_name(str(body.get("name_a") or ""), "A"),
        name_b=_name(str(body.get("name_b") or ""), "B"),
        sources=tuple(dict.fromkeys(sources)),
        pooling=_pooling(str(body.get("pooling") or "max")),
        from_end=_between(kept.get("from_end", 1), 1, MAX_FROM_END, "The token from the end"),
        chat=bool(body.get("chat", False)),
        seed=_between(kept.get("seed", 0), 0, MAX_SEED, "The seed"),
        dropped=tuple(map(str, body.get("dropped") or ())),
    )


def from_form(fields: Mapping[str, str], sources: Sequence[str], files: Mapping[str, tuple[str, str]]) -> Contrast:
    """`files` are names and contents by set, and stand in place of what was pasted."""
    form = fields.get("form", "auto") or "auto"
    if form not in prompts.FORMS:
        raise BadInput(f"{form[:40]!r} is no form of prompts; write one of {', '.join(prompts.FORMS)}.")
    return Contrast(
        a=_given("a", "A", fields, files, form),
        b=_given("b", "B", fields, files, form),
        name_a=_name(fields.get("name_a", ""), "A"),
        name_b=_name(fields.get("name_b", ""), "B"),
        sources=tuple(dict.fromkeys(one for one in sources if one)),
        pooling=_pooling(fields.get("pooling", "") or "max"),
        from_end=_between(_whole(fields.get("from_end", ""), 1, "The token from the end"), 1, MAX_FROM_END,
                          "The token from the end"),
        chat=fields.get("chat", "") not in ("", "0"),
        seed=_between(_whole(fields.get("seed", ""), 0, "The seed"), 0, MAX_SEED, "The seed"),
    )  # fmt: skip


def called(letter: str, name: str) -> str:
    """A set in a sentence: `A`, or `A (refusals)` where it was given a name."""
    return letter if name == letter else f"{letter} ({name})"


def straightened(asked: Contrast) -> Contrast:
    """With every prompt once in each set; raises where the sets cannot be told apart by anything."""
    a, dropped_a = _once(asked.a, called("A", asked.name_a))
    b, dropped_b = _once(asked.b, called("B", asked.name_b))
    if set(a) == set(b):
        raise BadInput("The two sets hold the same prompts, so nothing tells them apart. Give two different sets.")
    shared = len(set(a) & set(b))
    both = (
        [f"{shared} {'prompt stands' if shared == 1 else 'prompts stand'} in both sets and tells nothing apart."]
        if shared
        else []
    )
    return Contrast(
        **{**asked.__dict__, "a": a, "b": b, "dropped": (*dropped_a, *dropped_b, *both)},
    )


def _once(items: tuple[Item, ...], name: str) -> tuple[tuple[Item, ...], list[str]]:
    if not items:
        raise BadInput(f"Set {name} has no prompt. Paste some, one on each line, or choose a file.")
    if len(items) > MAX_PROMPTS:
        raise BadInput(f"Set {name} has {len(items):,} prompts; {MAX_PROMPTS:,} in a set is the most.")
    kept = tuple(dict.fromkeys(items))
    if len(kept) < 2:
        what = "only one prompt" if len(items) == 1 else f"the same prompt {len(items)} times"
        raise BadInput(f"Set {name} has {what}. Two different ones are the least, and twenty or more tell something.")
    gone = len(items) - len(kept)
    said = f"Set {name} had {gone} {'prompt' if gone == 1 else 'prompts'} twice or more; each counts once."
    return kept, [said] if gone else []


def _given(
    key: str, name: str, fields: Mapping[str, str], files: Mapping[str, tuple[str, str]], form: prompts.Form
) -> tuple[Item, ...]:
    if key not in files:
        return prompts.read(fields.get(key, ""), form, name=name)
    file, text = files[key]
    ending = f".{file.rpartition('.')[2].lower()}" if "." in file else ""
    if ending not in prompts.ENDINGS:
        known = ", ".join(prompts.ENDINGS)
        raise BadInput(f"{file[:80]!r} is no file of prompts that can be read here. These endings can: {known}.")
    found = prompts.read(text, prompts.ENDINGS[ending] if form == "auto" else form, name=name)
    if not found:
        raise BadInput(f"The file {file[:80]!r} for set {name} holds no prompt.")
    return found


def _set(value: Any, name: str) -> tuple[Item, ...]:
    if isinstance(value, str):
        return prompts.read(value, "auto", name=name)
    if not isinstance(value, list):
        raise BadInput(f"Set {name} is a list of prompts, each a string or a list of turns.")
    return prompts.checked(
        (prompts.item(one, f"Prompt {number} of set {name}") for number, one in enumerate(value, 1)), name=name
    )


def _name(written: str, usual: str) -> str:
    name = " ".join(written.split())
    if len(name) > MAX_NAME:
        raise BadInput(f"The name of set {usual} has {len(name)} characters; {MAX_NAME} is the most.")
    if "\x00" in name:
        raise BadInput(f"The name of set {usual} holds a NUL character, which is no text.")
    return name or usual


def _pooling(written: str) -> Pooling:
    for one in POOLINGS:
        if one == written:
            return one
    raise BadInput(f"{written[:40]!r} is no way to pool; write one of {', '.join(POOLINGS)}.")


def _whole(written: str, usual: int, what: str) -> int:
    written = written.strip()
    if not written:
        return usual
    if not (written.isascii() and written.isdigit() and len(written) <= 12):
        raise BadInput(f"{what} is a whole number, not {written[:40]!r}.")
    return int(written)


def _between(value: int, low: int, high: int, what: str) -> int:
    if not low <= value <= high:
        raise BadInput(f"{what} is {value:,}; it goes from {low:,} to {high:,}.")
    return value
