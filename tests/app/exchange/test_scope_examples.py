"""Gemma Scope 2's examples: what is in the file, what the weights beside it make of it, what an engine adds."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from app.db.database import Database
from app.exchange import bringing, commands
from app.exchange.filling import agreement, fill
from app.exchange.opening import readers
from app.exchange.scope_examples import ScopeExamples
from app.exchange.vocabulary import Vocabulary
from app.store import features, sources
from app.store.vocabulary import put_vocabulary
from inference.engine import protocol as p
from inference.errors import BadInput
from tests.app.world import VOCABULARY
from tests.fake_engine import PROVENANCE

MODEL, NAME = "gemma-3-270m", "9-gemmascope-2-res-96-l0-small"
WIDTH, TEXTS, LENGTH, KEPT = 12, 40, 16, 60
DEAD = 11
SOURCE = p.Source(id=NAME, location="dir:/somewhere", layer=9)


class Truth:
    """What every feature does on every text, and the file that it makes."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        ordinary = np.array([id_ for id_, _ in VOCABULARY if id_ >= 1000], dtype=np.int32)
        self.tokens = np.column_stack([np.full(TEXTS, 2, np.int32), rng.choice(ordinary, (TEXTS, LENGTH - 1))])
        raw = rng.exponential(4.0, (WIDTH, TEXTS, LENGTH)) * (rng.random((WIDTH, TEXTS, LENGTH)) < 0.2)
        raw[:, :, 0] = 0
        raw[DEAD] = 0
        self.raw = raw.astype(np.float32)
        self.decoder = rng.normal(size=(WIDTH, 8)).astype(np.float32)
        self.norms = np.linalg.norm(self.decoder, axis=1)
        flat = self.raw.reshape(WIDTH, -1)
        order = np.argsort(-flat, axis=1, kind="stable")[:, :KEPT]
        self.file = {
            "tokens": self.tokens.astype(np.int32),
            "activations": np.take_along_axis(flat, order, axis=1),
            "seq_ids": (order // LENGTH).astype(np.int64),
            "positions": (order % LENGTH).astype(np.int32),
            "top_tokens": rng.choice(ordinary, (WIDTH, 10)).astype(np.int32),
            "top_logits": np.sort(rng.random((WIDTH, 10)).astype(np.float32))[:, ::-1].copy(),
            "feature_frequencies": (flat > 0).mean(axis=1),
        }
        folder.mkdir(exist_ok=True)
        save_file(self.file, folder / "examples.safetensors")
        save_file({"w_dec": self.decoder, "threshold": np.ones(WIDTH, np.float32)}, folder / "params.safetensors")

    def engine(self, change: Callable[[np.ndarray], np.ndarray] = lambda values: values) -> "Engine":
        return Engine(self, change)


class Engine:
    """Knows the truth, folded."""

    def __init__(self, truth: Truth, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self.by_text = {tuple(row.tolist()): number for number, row in enumerate(truth.tokens)}
        self.values = change(truth.raw * truth.norms[:, None, None])
        self.passes = 0

    async def ask(self, request: Any, /) -> Any:
        found = []
        for prompt in request.prompts:
            self.passes += 1
            own = self.values[:, self.by_text[tuple(prompt.ids)]]
            tokens = p.Tokens(
                ids=np.array(prompt.ids, np.int32), pieces=(), special=np.zeros(LENGTH, bool), untrained=1
            )
            if isinstance(request, p.Activations):
                (columns,) = request.columns
                found.append(p.PromptActivations(tokens=tokens, values=(own[list(columns.indexes)].T,)))
            else:
                rows, indexes = np.nonzero(own.T)
                sparse = p.Sparse(
                    rows=rows.astype(np.int32), indexes=indexes.astype(np.int32), values=own.T[rows, indexes]
                )
                found.append(p.PromptSparse(tokens=tokens, sources=(sparse,)))
        if isinstance(request, p.Activations):
            return p.ActivationsAnswer(provenance=PROVENANCE, prompts=tuple(found))
        return p.SparseActivationsAnswer(provenance=PROVENANCE, prompts=tuple(found))

    def generate(self, request: p.Generate, /) -> Any:
        raise NotImplementedError


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return Truth(tmp_path / "examples")


async def test_what_the_file_has_is_shown_as_activations(truth: Truth, database: Database, tmp_path: Path) -> None:
    await put_vocabulary(database, VOCABULARY)
    (reader,) = readers(tmp_path / "examples")
    found = reader.look()
    planned = await bringing.plan(database, found, model=MODEL, source=NAME)
    done = await bringing.bring(database, reader, found, planned)
    assert done.features == WIDTH
    async with database.session() as session:
        source = await sources.find(session, MODEL, NAME)
        assert source.harvest is not None
        stats = await features.stats(session, source.harvest.id, range(WIDTH))
        detail = await features.detail(session, source.harvest.id, 4)
        shown = (await features.examples(session, source.harvest, [4]))[4]
    assert stats[DEAD].dead
    assert stats[4].peak == pytest.approx(truth.raw[4].max() * truth.norms[4], rel=1e-5)
    assert stats[4].density == pytest.approx((truth.raw[4] > 0).mean())
    assert detail is not None
    assert detail.norm == pytest.approx(truth.norms[4])
    np.testing.assert_array_equal(detail.top_logits, truth.file["top_tokens"][4])
    strongest = np.sort(truth.raw[4].max(axis=1))[::-1][:20] * truth.norms[4]
    np.testing.assert_allclose([one.peak for one in shown[0].examples], strongest, rtol=1e-5)
    for one in shown[0].examples:
        text = next(number for number, row in enumerate(truth.tokens) if (row == one.ids).all())
        kept = np.flatnonzero(one.values)
        np.testing.assert_allclose(one.values[kept], truth.raw[4, text, kept] * truth.norms[4], rtol=1e-3, atol=1e-3)


async def test_an_engine_that_agrees_is_told_from_one_that_does_not(truth: Truth, tmp_path: Path) -> None:
    examples = ScopeExamples(tmp_path / "examples")
    agreed = await agreement(truth.engine(), SOURCE, examples)
    assert (agreed.met, agreed.folded) == (True, False)
    assert agreed.values == 2 * (WIDTH - 1)
    other = await agreement(truth.engine(lambda values: values[::-1]), SOURCE, examples)
    assert not other.met
    assert "do NOT agree" in other.sentence()


async def test_an_engine_fills_in_all_values_of_a_text(truth: Truth, tmp_path: Path) -> None:
    examples = ScopeExamples(tmp_path / "examples")
    ((_, part),) = examples.features(Vocabulary(1, {}), Counter())
    engine = truth.engine()
    filled, left = await fill(engine, SOURCE, part, most=20)
    assert left == 0
    assert engine.passes <= TEXTS, "texts that features share are read once"
    for feature in filled[:DEAD]:
        for one in feature.bands[0].examples:
            text = next(number for number, row in enumerate(truth.tokens) if (row == one.ids).all())
            wanted = truth.raw[feature.index, text] * truth.norms[feature.index]
            assert one.positions.tolist() == np.flatnonzero(wanted).tolist()
            np.testing.assert_allclose(one.values, wanted[one.positions], rtol=1e-6)
    _, left = await fill(truth.engine(lambda values: values * 0), SOURCE, part, most=1)
    assert left == WIDTH - 1


async def test_what_an_engine_contradicts_is_refused_unless_forced(
    truth: Truth, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_vocabulary(database, VOCABULARY)
    reader = ScopeExamples(tmp_path / "examples")
    look = reader.look()
    plan = await bringing.plan(database, look, model=MODEL, source=NAME)

    async def find(*_: Any) -> Any:
        return SimpleNamespace(name=NAME, location=SOURCE.location, layer=SOURCE.layer)

    monkeypatch.setattr(commands.sources, "find", find)
    other = truth.engine(lambda values: values[::-1])
    wanted = commands.Wanted(where="", force=False)
    with pytest.raises(BadInput, match=r"do NOT agree .* Give --force to import it all the same"):
        await commands._compared(database, reader, look, plan, lambda model: other, wanted)
    await commands._compared(database, reader, look, plan, lambda model: other, replace(wanted, force=True))
    assert "do NOT agree" in plan.findings[-1]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("tokens", 300_000, "has the token id 300,000, and the vocabulary of gemma-3-270m ends at 3,199"),
        ("tokens", -1, "has the token id -1"),
        ("seq_ids", TEXTS, "names text 40, and has 40"),
        ("positions", LENGTH, "names position 16, and has 16"),
        ("activations", np.nan, "activations of features 0 to 11 are no numbers"),
    ],
)
async def test_numbers_that_cannot_be_are_found_in_the_look(
    truth: Truth, database: Database, tmp_path: Path, name: str, value: float, says: str
) -> None:
    await put_vocabulary(database, VOCABULARY)
    truth.file[name][3, 0] = value
    save_file(truth.file, tmp_path / "examples" / "examples.safetensors")
    with pytest.raises(BadInput, match=says):
        await bringing.plan(database, ScopeExamples(tmp_path / "examples").look(), model=MODEL, source=NAME)


def test_files_that_are_not_of_each_other_are_refused(truth: Truth, tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    save_file({"w_dec": truth.decoder[:5]}, folder / "params.safetensors")
    with pytest.raises(BadInput, match="not of each other"):
        ScopeExamples(folder)
    save_file({"tokens": truth.file["tokens"]}, folder / "examples.safetensors")
    with pytest.raises(BadInput, match="has no activations, seq_ids, positions"):
        ScopeExamples(folder)
    (folder / "examples.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(BadInput, match="no safetensors file, or was cut"):
        ScopeExamples(folder)
