"""Prompts as they arrive to token ids, checked, with everything that pages show of the tokens."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from inference.engine.protocol import EngineError, Prompt, Tokens
from inference.errors import BadInput
from inference.gemma.tokens import Tokenizer


@dataclass(frozen=True)
class ReadPrompt:
    """A prompt whose ids are known and allowed."""

    ids: tuple[int, ...]
    tokenizer: Tokenizer

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(
            ids=np.array(self.ids, dtype=np.int32),
            pieces=tuple(self.tokenizer.pieces(self.ids)),
            special=np.array(self.tokenizer.special(self.ids), dtype=bool),
            untrained=self.tokenizer.untrained(self.ids),
        )


def read_prompt(prompt: Prompt, tokenizer: Tokenizer, *, vocabulary: int, max_tokens: int) -> ReadPrompt:
    """The ids of a prompt; raises a sentence when there is none, too much, or something that is no token."""
    given = [name for name in ("text", "turns", "ids") if getattr(prompt, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) if given else "none of them"
        raise BadInput(f"A prompt has exactly one of text, turns and ids; this one has {found}.")
    if prompt.text is not None:
        ids = tokenizer.encode(prompt.text)
    elif prompt.turns is not None:
        ids = tokenizer.encode_turns(prompt.turns, prompt.generation_prompt)
    else:
        ids = list(prompt.ids or ())
        if not ids:
            raise BadInput("The prompt has no token ids. Give at least one.")
    if len(ids) > max_tokens:
        raise EngineError("too_long", f"Text too long: {len(ids)} tokens, max is {max_tokens}.")
    wrong = next((token for token in ids if not 0 <= token < vocabulary), None)
    if wrong is not None:
        raise BadInput(f"{wrong} is not a token id of this model. Ids go from 0 to {vocabulary - 1}.")
    return ReadPrompt(tuple(ids), tokenizer)


def read_prompts(
    prompts: tuple[Prompt, ...], tokenizer: Tokenizer, *, vocabulary: int, max_tokens: int, max_prompts: int
) -> list[ReadPrompt]:
    """All prompts of a request; of several, the sentence says which one is wrong."""
    if not prompts:
        raise BadInput("There is no prompt. Give at least one.")
    if len(prompts) > max_prompts:
        raise EngineError("too_long", f"Too many prompts: {len(prompts)}, max is {max_prompts} in one request.")
    read = []
    for number, prompt in enumerate(prompts, 1):
        try:
            read.append(read_prompt(prompt, tokenizer, vocabulary=vocabulary, max_tokens=max_tokens))
        except BadInput as error:
            raise BadInput(f"Prompt {number}: {error}" if len(prompts) > 1 else str(error)) from error
        except EngineError as error:
            if len(prompts) == 1:
                raise
            raise EngineError(error.failure.kind, f"Prompt {number}: {error}") from error
    return read
