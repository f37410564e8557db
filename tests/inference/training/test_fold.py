"""What is written must be, on raw activations, what was trained on normalised ones."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference.dictionaries.dictionary import Dictionary
from inference.gemma.sites import Site
from inference.training import fold
from inference.training.bank import CrossLayerBank
from inference.training.calibrate import OUTLYING, Measured, Report, calibrate_single, ordinary_fvu, shared_factor
from inference.training.export import base_threshold, describe, write_dictionary
from inference.training.normalise import Scaling, least_squares, measure, token_weight
from tests.inference.training.made import bank

DICE = torch.Generator().manual_seed(1)
READ = Scaling(torch.randn(6, generator=DICE) * 30, torch.tensor(0.02))
WRITTEN = Scaling(torch.randn(6, generator=DICE) * 8, torch.tensor(0.3))


def raw_tokens(scaling: Scaling, count: int = 50) -> Tensor:
    return torch.randn(count, 6) / scaling.scale + scaling.middle


def test_a_folded_sae_reconstructs_what_training_saw() -> None:
    made = bank(layers=(2, 3), prefixes=(4, 12))
    raw = raw_tokens(READ)
    x = torch.stack([READ.apply(raw)] * 2)
    outcome = made.step(x, x, torch.ones(2, 50), progress=0.0, compute=torch.float32)
    for i in range(2):
        tensors = fold.fold(made, i, 0.9999 * base_threshold(made, i), read=READ, written=READ, dtype=torch.float32)
        features = fold.fire(tensors, fold.encode(tensors, raw))
        left = (raw - fold.decode(tensors, features, raw)) * READ.scale
        torch.testing.assert_close(left, outcome.residual[i], atol=2e-4, rtol=1e-3)
        torch.testing.assert_close(tensors["w_dec"].norm(dim=1), torch.ones(12))


def test_a_folded_skip_transcoder_reconstructs_what_training_saw() -> None:
    made = bank(kind="transcoder", skip=True)
    raw, target = raw_tokens(READ), raw_tokens(WRITTEN)
    outcome = made.step(
        READ.apply(raw).unsqueeze(0), WRITTEN.apply(target).unsqueeze(0), torch.ones(1, 50), progress=0.0,
        compute=torch.float32,
    )  # fmt: skip
    tensors = fold.fold(made, 0, 0.9999 * base_threshold(made, 0), read=READ, written=WRITTEN, dtype=torch.float32)
    features = fold.fire(tensors, fold.encode(tensors, raw))
    left = (target - fold.decode(tensors, features, raw)) * WRITTEN.scale
    torch.testing.assert_close(left, outcome.residual[0], atol=2e-4, rtol=1e-3)


def test_a_folded_jumprelu_keeps_its_own_thresholds() -> None:
    made = bank(loss="jumprelu", first_threshold=0.3)
    raw = raw_tokens(READ)
    x = READ.apply(raw).unsqueeze(0)
    outcome = made.step(x, x, torch.ones(1, 50), progress=0.0, compute=torch.float32)
    tensors = fold.fold(made, 0, base_threshold(made, 0), read=READ, written=READ, dtype=torch.float32)
    features = fold.fire(tensors, fold.encode(tensors, raw))
    assert float((features > 0).sum() / 50) == pytest.approx(float(outcome.l0[0]))


def test_a_folded_cross_layer_transcoder_reconstructs_what_training_saw() -> None:
    made = bank(layers=(0, 1, 2), kind="clt", width=36, l0=6, skip=True)
    assert isinstance(made, CrossLayerBank)
    reads = [Scaling(torch.randn(6), torch.tensor(0.1 * (i + 1))) for i in range(3)]
    writes = [Scaling(torch.randn(6), torch.tensor(0.7 / (i + 1))) for i in range(3)]
    raws, targets = [raw_tokens(scaling) for scaling in reads], [raw_tokens(scaling) for scaling in writes]
    x = torch.stack([scaling.apply(raw) for scaling, raw in zip(reads, raws, strict=True)])
    goal = torch.stack([scaling.apply(raw) for scaling, raw in zip(writes, targets, strict=True)])
    outcome = made.step(x, goal, torch.ones(3, 50), progress=0.0, compute=torch.float32)
    layers = [
        fold.fold(
            made,
            i,
            0.9999 * base_threshold(made, i),
            read=reads[i],
            written=dict(enumerate(writes)),
            dtype=torch.float32,
        )
        for i in range(3)
    ]
    features = [fold.fire(tensors, fold.encode(tensors, raw)) for tensors, raw in zip(layers, raws, strict=True)]
    for to in range(3):
        out = layers[to]["b_dec"] + raws[to] @ layers[to]["affine_skip_connection"]
        for layer in range(to + 1):
            out = out + features[layer] @ layers[layer]["w_dec"][:, to]
        left = (targets[to] - out) * writes[to].scale
        torch.testing.assert_close(left, outcome.residual[to], atol=5e-4, rtol=1e-3)
        assert not layers[to]["w_dec"][:, :to].any()


def test_rounding_weights_shifts_no_pre_activation_at_the_middle() -> None:
    made = bank()
    exact = fold.fold(made, 0, base_threshold(made, 0), read=READ, written=READ, dtype=torch.float32)
    rounded = fold.fold(made, 0, base_threshold(made, 0), read=READ, written=READ, dtype=torch.bfloat16)
    assert rounded["w_enc"].dtype == torch.bfloat16
    assert rounded["b_enc"].dtype == torch.float32
    middle = READ.middle.unsqueeze(0)
    torch.testing.assert_close(fold.encode(rounded, middle), fold.encode(exact, middle), atol=2e-3, rtol=0)


def test_a_written_dictionary_reads_back_as_it_was_folded(tmp_path: Path) -> None:
    made = bank(layers=(2,), kind="transcoder", skip=True)
    tensors = fold.fold(made, 0, torch.full((12,), 0.2), read=READ, written=WRITTEN, dtype=torch.float32)
    report = Report(tokens=1, l0=3.0, fvu=0.1, fvu_ordinary=0.1, dead_share=0.0, frequent_share=0.0)
    sites = [(Site("mlp_in", 2), Site("mlp_out", 2))]
    config = describe(made.config, sites, "gemma-3-270m", {}, [report])
    path = tmp_path / made.config.folder(2)
    write_dictionary(path, [tensors], config)
    write_dictionary(path, [tensors], config)
    assert path.parent.name == "transcoder_all"
    assert path.name == "layer_2_width_12_l0_medium_affine"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    dictionary = Dictionary(path)
    raw = raw_tokens(READ)
    features = dictionary.encode(raw)
    mine = fold.fire(tensors, fold.encode(tensors, raw))
    torch.testing.assert_close(features, mine, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(
        dictionary.decode(features, x=raw), fold.decode(tensors, mine, raw), atol=1e-2, rtol=1e-4
    )


def test_one_factor_makes_exactly_the_declared_l0_fire() -> None:
    pre = torch.randn(1000, 40)
    base = 0.1 + torch.rand(40)
    factor = shared_factor(lambda: pre.split(64), base, 5.0)
    assert int((pre > base * factor).sum()) == 5000


def test_the_factor_is_exact_though_one_piece_holds_nearly_all_that_fires() -> None:
    pre = torch.cat([torch.rand(10, 40) + 5, torch.rand(190, 40)])
    factor = shared_factor(lambda: pre.split(10), torch.ones(40), 1.5)
    assert int((pre > factor).sum()) == 300


def test_calibration_hits_the_l0_and_measures_as_plain_formulas_do() -> None:
    made = bank(width=60)
    tensors = fold.fold(made, 0, torch.full((60,), 0.1), read=READ, written=READ, dtype=torch.float32)
    raw = raw_tokens(READ, 400)

    def pieces() -> tuple[Tensor, ...]:
        return raw.split(100)

    done, report = calibrate_single(tensors, 7.0, pieces, pieces)
    features = fold.fire(done, fold.encode(done, raw))
    assert report.l0 == pytest.approx(7.0, abs=0.02)
    error = (raw - fold.decode(done, features, raw)).square().sum()
    assert report.fvu == pytest.approx(float(error / (raw - raw.mean(0)).square().sum()), rel=1e-4)
    assert report.dead_share == pytest.approx(float((features == 0).all(dim=0).float().mean()))


def test_the_ordinary_fvu_leaves_the_farthest_thousandth_out() -> None:
    energy = torch.cat([torch.ones(999), torch.tensor([1e6])])
    error = torch.cat([torch.full((999,), 0.1), torch.tensor([9e5])])
    assert OUTLYING == 0.001
    assert ordinary_fvu(error, energy) == pytest.approx(0.1)


def test_the_mean_predictor_has_an_fvu_of_one() -> None:
    target = torch.randn(64, 5) + 3
    measured = Measured(4, 5, torch.device("cpu"))
    for part in target.split(16):
        measured.add(torch.zeros(len(part), 4), part, target.mean(dim=0).expand_as(part))
    assert measured.report().fvu == pytest.approx(1.0, rel=1e-5)


def test_a_few_far_tokens_move_neither_middle_nor_scale() -> None:
    ordinary = torch.randn(2000, 8) + 4
    far = torch.zeros(4, 8)
    far[:, 0] = 1e5
    with_far = measure(torch.cat([ordinary, far]), outlier_ratio=10.0)
    without = measure(ordinary, outlier_ratio=None)
    torch.testing.assert_close(with_far.middle, without.middle, atol=0.01, rtol=0)
    assert float(with_far.scale) == pytest.approx(float(without.scale), rel=0.02)
    assert float(with_far.apply(ordinary).square().sum(dim=1).mean()) == pytest.approx(1.0, rel=0.03)


def test_a_far_token_counts_as_one_at_the_bound() -> None:
    target = torch.tensor([[1.0, 0.0], [10.0, 0.0]])
    assert torch.allclose(token_weight(target, 10.0), torch.tensor([1.0, 0.1]))
    assert torch.equal(token_weight(target, None), torch.ones(2))


def test_least_squares_finds_the_map_behind_the_data() -> None:
    x, behind = torch.randn(5000, 6), torch.randn(6, 4)
    found = least_squares(x, x @ behind, torch.ones(5000))
    torch.testing.assert_close(found, behind, atol=1e-3, rtol=1e-3)
