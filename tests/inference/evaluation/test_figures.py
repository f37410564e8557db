"""Each figure of a card against a direct computation."""

from pathlib import Path

import numpy as np
import pytest

from inference.dictionaries.dictionary import Dictionary
from inference.evaluation.card import Card, Quality
from inference.evaluation.run import evaluate
from inference.evaluation.subject import Subject, subject
from inference.evaluation.text import Text, text_of
from inference.gemma.model import Gemma
from tests.inference.evaluation.direct import Direct, Told, ablated, spliced
from tests.tiny_dictionaries import write_multi, write_single

SUITES = {
    "resid_post": ("resid_post", "resid_post"),
    "attn_out": ("attn_out", "attn_out"),
    "mlp_out": ("mlp_out", "mlp_out"),
    "transcoder": ("mlp_in", "mlp_out"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "dictionaries"


def single(root: Path, suite: str, layer: int, *, affine: bool = False) -> tuple[Dictionary, Told]:
    folder = write_single(root, suite, layer, affine=affine, seed=layer)
    read, write = SUITES[suite.removesuffix("_all")]
    return Dictionary(folder), Told(folder, [f"{read}.{layer}"], [f"{write}.{layer}"])


def several(root: Path, kind: str, *, affine: bool = False) -> tuple[Dictionary, Told]:
    folder = write_multi(root, kind, affine=affine, seed=7)  # type: ignore[arg-type]
    read, write = ("mlp_in", "mlp_out") if kind == "clt" else ("resid_post", "resid_post")
    layers = range(4) if kind == "clt" else (0, 2, 3)
    return Dictionary(folder), Told(folder, [f"{read}.{n}" for n in layers], [f"{write}.{n}" for n in layers])


def found(card: Card, quality: Quality) -> dict[str, float | None]:
    loss = quality.loss
    named = {
        "l0": quality.l0, "fvu": quality.fvu, "fvu_ordinary": quality.fvu_ordinary, "cosine": quality.cosine,
        "l0_all_layers": card.l0_all_layers, "outlying_energy": card.outlying_energy, "clean": loss.clean,
        "spliced": loss.spliced, "ablated": loss.ablated, "added": loss.added, "recovered": loss.recovered,
    }  # fmt: skip
    return {
        **{name: figure.value for name, figure in named.items()},
        "tokens": card.tokens,
        "dead": card.density.dead,
        "dense": card.density.dense,
    }


TOLERANCE = {"l0": 1e-3, "l0_all_layers": 1e-3, "recovered": 2e-3}
"""A feature at its threshold may fire in float32 and not in float64: about one token's worth of difference. The share
recovered divides by what ablation costs, which on a random model is little."""


def agree(card: Card, quality: Quality, expected: dict[str, float], *, without: tuple[str, ...] = ()) -> None:
    for name, value in found(card, quality).items():
        if name not in without:
            assert value == pytest.approx(expected[name], rel=5e-5, abs=TOLERANCE.get(name, 5e-5)), name


@pytest.mark.parametrize("suite", list(SUITES))
def test_figures_of_one_layer_are_those_computed_directly(
    tiny_gemma: Gemma, text: Text, direct: Direct, root: Path, suite: str
) -> None:
    dictionary, told = single(root, suite, 2)
    (card,) = evaluate(tiny_gemma, [subject("one", dictionary, layer=2, model=tiny_gemma)], text)
    agree(card, card.qualities[0], direct.figures(told))
    assert card.outlying_energy.value is not None
    assert card.outlying_energy.value > 0
    assert card.declared_l0 == 20


def test_figures_without_skip_and_by_prefix_are_those_computed_directly(
    tiny_gemma: Gemma, text: Text, direct: Direct, root: Path
) -> None:
    dictionary, told = single(root, "transcoder_all", 1, affine=True)
    one = subject("one", dictionary, layer=1, model=tiny_gemma, prefixes=[96, 8, 32])
    (card,) = evaluate(tiny_gemma, [one], text)
    assert [quality.variant for quality in card.qualities] == ["whole", "without skip", "first 8", "first 32"]
    features = ("l0_all_layers", "dead", "dense")
    for quality, skip, prefix in zip(card.qualities, (True, False, True, True), (None, None, 8, 32), strict=True):
        told.skip, told.prefix = skip, prefix
        agree(card, quality, direct.figures(told), without=features if prefix else ())


@pytest.mark.parametrize(("kind", "affine", "layer"), [("clt", True, 2), ("clt", False, 0), ("crosscoder", False, 3)])
def test_figures_across_layers_are_those_computed_directly(
    tiny_gemma: Gemma, text: Text, direct: Direct, root: Path, kind: str, affine: bool, layer: int
) -> None:
    dictionary, told = several(root, kind, affine=affine)
    told.position = dictionary.spec.position(layer)
    (card,) = evaluate(tiny_gemma, [subject("one", dictionary, layer=layer, model=tiny_gemma)], text)
    agree(card, card.qualities[0], direct.figures(told))


def test_all_at_once_is_one_model_made_of_them(tiny_gemma: Gemma, text: Text, direct: Direct, root: Path) -> None:
    made = {layer: single(root, "transcoder", layer) for layer in (0, 1, 3)}
    subjects = [subject(f"{layer}", one, layer=layer, model=tiny_gemma) for layer, (one, _) in made.items()]
    cards = evaluate(tiny_gemma, subjects, text, all_at_once=True)
    together = cards[0].together
    assert together is not None
    assert all(card.together == together for card in cards)
    told = [one for _, one in made.values()]
    means = {one.writes[0]: direct.mean(one.writes[0]) for one in told}
    (clean, count), (with_them, _) = direct.loss(lambda _: {}), direct.loss(lambda ids: spliced(told, ids))
    without, _ = direct.loss(lambda ids: ablated(means, ids))
    loss = together["loss"]
    assert loss["spliced"]["value"] == pytest.approx(with_them.sum() / count.sum(), rel=2e-5)
    assert loss["ablated"]["value"] == pytest.approx(without.sum() / count.sum(), rel=2e-5)
    recovered = (without.sum() - with_them.sum()) / (without.sum() - clean.sum())
    assert loss["recovered"]["value"] == pytest.approx(recovered, rel=1e-4, abs=2e-3)


def test_figures_do_not_depend_on_batches_or_company(
    tiny_gemma: Gemma, text: Text, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dictionaries = [single(root, suite, 2)[0] for suite in SUITES]

    def subjects() -> list[Subject]:
        return [subject(suite, one, layer=2, model=tiny_gemma) for suite, one in zip(SUITES, dictionaries, strict=True)]

    together = evaluate(tiny_gemma, subjects(), text, forward_tokens=400)
    monkeypatch.setattr("inference.evaluation.measure.FEATURE_BYTES", 4 * 96 * 7)
    monkeypatch.setattr("inference.evaluation.splice.LOGIT_BYTES", 4 * 512 * 5)
    for one, card in zip(subjects(), together, strict=True):
        (alone,) = evaluate(tiny_gemma, [one], text, forward_tokens=1)
        assert alone.density == card.density
        for name, value in found(alone, alone.qualities[0]).items():
            assert value == pytest.approx(found(card, card.qualities[0])[name], rel=1e-5, abs=1e-6)


def test_a_perfect_dictionary_explains_everything_and_costs_nothing(
    tiny_gemma: Gemma, text: Text, tmp_path: Path
) -> None:
    """Features are the coordinates with both signs: x = relu(x) - relu(-x)."""
    import torch

    both = torch.cat([torch.eye(32), -torch.eye(32)])
    tensors = {
        "w_enc": both.T.contiguous(), "b_enc": torch.zeros(64), "threshold": torch.zeros(64),
        "w_dec": both, "b_dec": torch.zeros(32),
    }  # fmt: skip
    folder = write_single(tmp_path, "resid_post", 1, width=64, tensors=tensors)
    one = subject("one", Dictionary(folder), layer=1, model=tiny_gemma)
    (card,) = evaluate(tiny_gemma, [one], text)
    (whole,) = card.qualities
    assert whole.l0.value == 32
    assert whole.fvu.value == pytest.approx(0, abs=1e-10)
    assert whole.cosine.value == pytest.approx(1)
    assert whole.loss.added.value == pytest.approx(0, abs=1e-6)
    assert whole.loss.recovered.value == pytest.approx(1, abs=1e-5)
    assert card.density.dense > 60
    assert sum(card.density.counts) == 64


def test_the_bias_alone_recovers_nothing(tiny_gemma: Gemma, text: Text, direct: Direct, tmp_path: Path) -> None:
    """A dictionary that never fires and whose bias is the mean is mean ablation."""
    import torch

    mean = torch.tensor(direct.mean("mlp_out.2"), dtype=torch.float32)
    tensors = {
        "w_enc": torch.zeros(32, 8), "b_enc": torch.zeros(8), "threshold": torch.ones(8),
        "w_dec": torch.ones(8, 32), "b_dec": mean,
    }  # fmt: skip
    folder = write_single(tmp_path, "mlp_out", 2, width=8, tensors=tensors)
    (card,) = evaluate(tiny_gemma, [subject("one", Dictionary(folder), layer=2, model=tiny_gemma)], text)
    (whole,) = card.qualities
    assert whole.l0.value == 0
    assert whole.fvu.value == pytest.approx(1)
    assert whole.loss.recovered.value == pytest.approx(0, abs=1e-4)
    assert card.density.dead == 8
    assert np.sum(card.density.counts) == 0


def test_losses_of_the_first_part_are_those_of_that_part_and_all_else_is_of_the_whole(
    root: Path, tiny_gemma: Gemma, text: Text
) -> None:
    dictionary, _ = single(root, "resid_post", 2)
    of = [subject("2-res", dictionary, layer=2, model=tiny_gemma, prefixes=())]
    (first,) = evaluate(tiny_gemma, of, text, spliced_tokens=150, forward_tokens=120)
    (part,) = evaluate(tiny_gemma, of, text_of("text", "the first three", text.passages[:3]))
    (whole,) = evaluate(tiny_gemma, of, text)
    assert first.spliced_tokens == part.spliced_tokens < whole.spliced_tokens
    for name in ("clean", "spliced", "added"):
        mine, theirs = (getattr(card.qualities[0].loss, name) for card in (first, part))
        assert mine.value == pytest.approx(theirs.value, rel=1e-5)
        assert mine.error == pytest.approx(theirs.error, rel=1e-3)
    assert first.qualities[0].fvu.value == pytest.approx(whole.qualities[0].fvu.value, rel=1e-6)
    assert first.tokens == whole.tokens
    assert first.density == whole.density
