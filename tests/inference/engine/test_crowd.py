"""A crowd that asks everything at once, and partly leaves early, gets right answers and leaves nothing behind."""

import asyncio
import random
from pathlib import Path
from typing import Any

import numpy as np

from inference.engine.protocol import (
    Activations,
    Columns,
    EngineError,
    Generate,
    Gradient,
    Lease,
    NextTokens,
    Prompt,
    Release,
    Score,
    Sites,
    TopFeatures,
)
from inference.gemma.model import Gemma
from tests.inference.engine.engines import Started, source, started
from tests.inference.engine.reference import Reference

KINDS = ("activations", "top", "next", "sites", "score", "gradient", "generate", "lease")


async def test_nothing_is_left_behind(
    tiny_gemma: Gemma, tmp_path: Path, suite: dict[str, Path], reference: Reference
) -> None:
    chance = random.Random(1)
    sae = source(suite["resid_post/layer_1_width_96_l0_medium"], layer=1)

    def prompt() -> Prompt:
        return Prompt(ids=(2, *(chance.randrange(3, 512) for _ in range(chance.randrange(1, 60)))))

    async def one(engine: Started, kind: str) -> str:
        text = prompt()
        try:
            async with asyncio.timeout(chance.choice((0.001, 0.01, 20))):
                await ask(engine, kind, text)
        except EngineError as error:
            return error.failure.kind
        except TimeoutError:
            return "left"
        return "answered"

    async def ask(engine: Started, kind: str, text: Prompt) -> None:
        requests: dict[str, Any] = {
            "activations": Activations(prompts=(text,), columns=(Columns(source=sae, indexes=(1, 2)),)),
            "top": TopFeatures(prompts=(text, prompt()), sources=(sae,), k=3),
            "next": NextTokens(prompts=(text,), k=2, last_only=True),
            "sites": Sites(prompts=(text,), sites=("resid_post.2",)),
            "score": Score(prompts=(text,)),
            "gradient": Gradient(prompt=text, position=0, token=9, sites=("mlp_out.1",)),
        }
        if kind == "generate":
            async for _ in engine.engine.generate(Generate(prompt=text, max_tokens=5)):
                pass
        elif kind == "lease":
            await engine.ask(Lease(holder=str(id(text)), seconds=0.01))
            await engine.ask(Release(holder=str(id(text))))
        else:
            answer = await engine.engine.ask(requests[kind])
            if kind == "sites":
                expected = reference.sites(text.ids)["resid_post.2"]
                np.testing.assert_allclose(answer.prompts[0].values[0], expected, rtol=1e-3, atol=1e-3)

    async with started(tiny_gemma, tmp_path, queue_limit=20, batch_tokens=200) as engine:
        outcomes: list[str] = []
        for _ in range(10):
            crowd = [one(engine, chance.choice(KINDS)) for _ in range(25)]
            outcomes += await asyncio.gather(*crowd)
        assert set(outcomes) <= {"answered", "left", "busy"}
        assert outcomes.count("answered") > 50
        line = engine.engine._line
        assert len(line) == 0
        assert (line._jobs, list(line._generations), line._reading) == ([], [], 0)
        assert engine.engine._open == set()
        await engine.ask(Sites(prompts=(prompt(),), sites=("resid_post.0",)))
