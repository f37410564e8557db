"""The first dictionary, made from the tiny model through its engine."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from inference.dictionaries.probe import probe
from inference.engine import making
from inference.engine.making import Pace, finish, make_through
from inference.errors import Unavailable
from inference.gemma.tokens import Tokenizer
from inference.training import first
from inference.training.first import LEAST_PASSAGES, PASSAGE_TOKENS
from tests.inference.engine.engines import Started

PASSAGES = 68
UNHURRIED = Pace(read_seconds=600, train_seconds=600, text_tokens=PASSAGES * PASSAGE_TOKENS)
TEXT = Path(making.__file__).read_text()
NAME = "resid_post/layer_3_width_1k_l0_medium"


class Elsewhere:
    """An engine of another event loop."""

    def __init__(self, started: Started) -> None:
        self._started = started
        self._loop = asyncio.get_running_loop()

    async def ask(self, request: Any, /) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._started.ask(request), self._loop))

    def generate(self, request: Any, /) -> Any:
        raise AssertionError("nobody asked for this")


def files(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)) for path in found}


Make = Callable[..., Any]


@pytest.fixture
async def make(running: Started, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes one from a text that is always the same."""
    monkeypatch.setattr(making, "installed_texts", lambda: [f"{number} {TEXT}" for number in range(40)])
    monkeypatch.setattr(first, "PASSES", 6)
    engine = Elsewhere(running)

    def whole(folder: Path, tell: Callable[[float, str], None], pace: Pace) -> Path:
        loop = asyncio.new_event_loop()
        try:
            return make_through(
                engine, loop=loop, folder=folder, model="gemma-3-tiny", pace=pace, tell=tell,
                tokenizer=lambda: Tokenizer.from_folder(tiny_folder),
            )  # fmt: skip
        finally:
            loop.close()

    async def run(
        folder: Path, *, tell: Callable[[float, str], None] = lambda *_: None, pace: Pace = UNHURRIED
    ) -> Path:
        return await asyncio.to_thread(whole, folder, tell, pace)

    return run


async def test_it_is_made_with_one_forward_pass_per_passage(make: Make, running: Started, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    made = await make(tmp_path, tell=lambda *progress: told.append(progress))
    assert made == tmp_path / NAME
    probed = probe(f"dir:{made}", home=tmp_path.parent / "elsewhere", offline=True)
    assert (probed.kind, probed.width, probed.reads) == ("sae", 1024, ("resid_post.3",))
    report = json.loads((tmp_path / "report.json").read_text())[NAME]
    assert report["l0"] == pytest.approx(32, rel=0.05)
    assert running.forwards <= PASSAGES
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] <= 1
    assert told[0][1] == "Waiting for the model."
    assert any("is still unexplained" in sentence for _, sentence in told)
    finish(tmp_path)
    assert files(tmp_path) == {"report.json", f"{NAME}/config.json", f"{NAME}/params.safetensors"}


async def test_stopped_and_begun_again_it_ends_in_the_same_bits(make: Make, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(fraction: float, _: str) -> None:
        if fraction > 0.9:
            raise Enough

    with pytest.raises(Enough):
        await make(tmp_path / "stopped", tell=stop)
    assert (tmp_path / "stopped" / "run" / "step_000000050").is_dir()
    fractions: list[float] = []
    again = await make(tmp_path / "stopped", tell=lambda fraction, _: fractions.append(fraction))
    assert not any(0.54 < fraction < 0.85 for fraction in fractions), "it went on from its fiftieth step"
    whole = await make(tmp_path / "whole")
    for name, tensor in load_file(whole / "params.safetensors").items():
        assert torch.equal(tensor, load_file(again / "params.safetensors")[name]), name


async def test_with_little_time_it_reads_little_text(make: Make, running: Started, tmp_path: Path) -> None:
    made = await make(tmp_path, pace=UNHURRIED._replace(read_seconds=0))
    assert (made / "params.safetensors").exists()
    assert running.forwards <= LEAST_PASSAGES


async def test_two_do_not_make_the_same(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "LOCK_SECONDS", 0.1)
    with FileLock(tmp_path / ".lock"), pytest.raises(Unavailable, match="Another process makes a dictionary in"):
        await make(tmp_path)
