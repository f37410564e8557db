"""What several routes ask of the engine, and how much of its answer is sent at once."""

from collections.abc import Sequence

from app.neuronpedia.inference.served import Served
from app.web.sources import InstalledSource
from inference.engine.protocol import EngineError, Prompt, SparseActivations, SparseActivationsAnswer

MOST_NUMBERS = 2_000_000
"""In one answer. Texts are bounded by the body's size and the engine, their product with features is bounded here."""


def prompts(texts: str | list[str]) -> tuple[Prompt, ...]:
    return tuple(Prompt(text=text) for text in ([texts] if isinstance(texts, str) else texts))


async def everything(
    here: Served, texts: str | list[str], sources: Sequence[InstalledSource]
) -> SparseActivationsAnswer:
    """All that fires of some sources over some texts."""
    answer: SparseActivationsAnswer = await here.engine.ask(
        SparseActivations(prompts=prompts(texts), sources=tuple(one.source for one in sources))
    )
    return answer


def check_size(count: int) -> None:
    if count > MOST_NUMBERS:
        raise EngineError(
            "too_long",
            f"The answer would have {count:,} numbers, and {MOST_NUMBERS:,} is the most that is sent at once. Ask for "
            "fewer texts or results.",
        )
