"""From plain words to a file of token ids: what `gemlens sample` does where torch is."""

from pathlib import Path
from typing import Any

from tqdm import tqdm

from inference.gemma.model import Gemma
from inference.gemma.origin import find
from inference.gemma.precision import choose_device, choose_dtype
from inference.sampled import already, facts_of, write_sampled
from inference.sampling import VARIED_PREFIXES, SamplingPlan


def run(
    model: str,
    out: Path,
    *,
    home: Path,
    model_path: str | None,
    device: str,
    dtype: str,
    offline: bool,
    passages: int,
    passage_tokens: int,
    seed: int,
    temperature: float,
    min_p: float,
    batch: int,
    prefixes: tuple[str, ...],
) -> dict[str, Any]:
    """Progress goes to standard error where that is a terminal. What is done already needs no model."""
    plan = SamplingPlan(
        count=passages,
        length=passage_tokens,
        batch=batch,
        temperature=temperature,
        min_p=min_p,
        seed=seed,
        prefixes=prefixes or VARIED_PREFIXES,
    )
    checkpoint = find(model, home=home, model_path=model_path, offline=offline)
    chosen = choose_device(device)
    facts = facts_of(checkpoint, plan, device=chosen, dtype=choose_dtype(dtype, chosen))
    if (done := already(out, facts)) is not None:
        return done
    loaded = Gemma.load(checkpoint, device=device, dtype=dtype)
    with tqdm(desc="sampling", unit="token", unit_scale=True, disable=None) as bar:

        def told(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        return write_sampled(loaded, plan, out, progress=told)
