"""Dictionaries that begin from trained ones."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from inference.dictionaries.dictionary import Dictionary
from inference.errors import BadInput, NotFound
from inference.gemma.model import Gemma
from inference.gemma.sites import Site
from inference.training import fold
from inference.training.bank import CrossLayerBank
from inference.training.beginning import greedy, in_training_units
from inference.training.config import TrainConfig
from inference.training.normalise import Scaling
from inference.training.run import Trainer, train
from inference.training.sources import TokenFile
from tests.inference.training.made import bank, small_config

TRANSCODERS = {"kind": "transcoder", "width": 24, "l0": 6, "l0_name": "small", "skip": True}


def source_of(config: TrainConfig) -> TokenFile:
    return TokenFile(Path(config.source["path"]), passage_tokens=config.passage_tokens, seed=config.seed)


def trainer_of(config: TrainConfig, model: Any) -> Trainer:
    trainer = Trainer(config, model=model, source=source_of(config), origin={})
    trainer.begin()
    return trainer


@pytest.fixture
def transcoders(tiny_gemma: Gemma, tmp_path: Path) -> str:
    config = small_config(tmp_path / "before", banks=[TRANSCODERS])
    train(config, model=tiny_gemma, source=source_of(config), origin={})
    return str(config.out / "transcoder_all" / "layer_{layer}_width_24_l0_small_affine")


def clt_config(folder: Path, transcoders: str, **changes: Any) -> TrainConfig:
    settings = {"kind": "clt", "width": 48, "l0": 8, "skip": True, "begin_from": transcoders, **changes}
    return small_config(folder, banks=[settings])


@pytest.mark.parametrize(("kind", "skip"), [("sae", False), ("transcoder", True)])
def test_folding_and_beginning_undo_each_other(kind: str, skip: bool) -> None:
    made = bank(kind=kind, skip=skip)
    torch.manual_seed(1)
    read = Scaling(torch.randn(6), torch.tensor(0.3))
    written = read if kind == "sae" else Scaling(torch.randn(6), torch.tensor(2.5))
    threshold = torch.rand(12) + 0.1
    tensors = fold.fold(made, 0, threshold, read=read, written=written, dtype=torch.float32)
    length = torch.rand(12) + 0.5
    stretched = {**tensors, "w_dec": tensors["w_dec"] * length.unsqueeze(1), "w_enc": tensors["w_enc"] / length}
    stretched |= {name: tensors[name] / length for name in ("b_enc", "threshold")}
    for given in (tensors, stretched):
        begun = in_training_units(given, kind=kind, read=read, written=written)
        torch.testing.assert_close(begun.w_enc, made.w_enc[0])
        torch.testing.assert_close(begun.w_dec, made.w_dec[0])
        torch.testing.assert_close(begun.b_enc, made.b_enc[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(begun.b_dec, made.b_dec[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(begun.threshold, threshold)
        if made.skip is not None:
            torch.testing.assert_close(begun.skip, made.skip[0])


def chosen_by_hand(decoders: list[torch.Tensor], encoders: list[torch.Tensor], take: int) -> list[list[int]]:
    marks: list[dict[int, float]] = [{} for _ in encoders]
    chosen = []
    for layer, decoder in enumerate(decoders):
        unmarked = [index for index in range(len(decoder)) if index not in marks[layer]]
        marked = sorted(marks[layer], key=lambda index: (marks[layer][index], index))
        taken = (unmarked + marked)[:take]
        chosen.append(taken)
        for index in taken:
            for later in range(layer + 1, len(encoders)):
                products = [float(decoder[index] @ row) for row in encoders[later]]
                most = max(range(len(products)), key=products.__getitem__)
                if products[most] > 0:
                    marks[later][most] = max(marks[later].get(most, 0.0), products[most])
    return chosen


@pytest.mark.parametrize("take", [2, 5, 9])
def test_the_greedy_choice_equals_one_by_hand(take: int) -> None:
    generator = torch.Generator().manual_seed(take)
    decoders = [torch.randn(9, 5, generator=generator) for _ in range(4)]
    encoders = [torch.randn(9, 5, generator=generator) for _ in range(4)]
    found = [index.tolist() for index in greedy(decoders, encoders, take=take)]
    assert found == chosen_by_hand(decoders, encoders, take)


def test_a_later_feature_that_repeats_an_early_one_is_not_taken_again() -> None:
    directions = torch.eye(6)
    first, second = greedy([directions[:2], directions], [directions[:2], directions], take=2)
    assert first.tolist() == [0, 1]
    assert second.tolist() == [2, 3]


def test_a_cross_layer_transcoder_begins_as_its_transcoders_side_by_side(
    tiny_gemma: Gemma, tmp_path: Path, transcoders: str
) -> None:
    trainer = trainer_of(clt_config(tmp_path, transcoders), tiny_gemma)
    (made,) = trainer.banks
    assert isinstance(made, CrossLayerBank)
    held_out = torch.from_numpy(trainer.held_out)
    for layer in range(made.n):
        dictionary = Dictionary(Path(transcoders.replace("{layer}", str(layer))))
        raw = tiny_gemma.read_sites(held_out, [Site("mlp_in", layer)])[Site("mlp_in", layer)].reshape(-1, 32)
        read, write = trainer.scalings[Site("mlp_in", layer)], trainer.scalings[Site("mlp_out", layer)]
        pre = read.apply(raw) @ made.w_enc[layer].T + made.b_enc[layer]
        assert made.skip is not None
        base = made.b_dec[layer] + read.apply(raw) @ made.skip[layer]
        written = (base + pre @ made.w_dec_to[layer][layer]) / write.scale + write.middle
        rows = dictionary.decoder_rows(torch.arange(24))
        taken = (made.w_dec_to[layer][layer] @ torch.nn.functional.normalize(rows, dim=1).T).argmax(dim=1)
        assert len(set(taken.tolist())) == 12
        # linear in the features: the transcoder's own pre-activations of those taken, decoded by its own rows
        given = load_file(dictionary.spec.files[0])
        linear = raw @ given["w_enc"][:, taken] + given["b_enc"][taken]
        direct = linear @ given["w_dec"][taken] + given["b_dec"] + raw @ given["affine_skip_connection"]
        torch.testing.assert_close(written, direct, atol=2e-3, rtol=1e-3)
        for target in range(layer + 1, made.n):
            assert not made.w_dec_to[target][layer].any()


def test_the_target_l0_falls_from_what_the_transcoders_declare_together(
    tiny_gemma: Gemma, tmp_path: Path, transcoders: str
) -> None:
    (made,) = trainer_of(clt_config(tmp_path, transcoders, l0_decay=0.5), tiny_gemma).banks
    assert [made.l0_at(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == [24.0, 16.0, 8.0, 8.0]
    with torch.no_grad():
        made.b_enc += 100  # so that enough is positive
    x, target = torch.randn(4, 200, 32), torch.randn(4, 200, 32)
    for progress, wanted in ((0.0, 24.0), (0.25, 16.0), (0.75, 8.0)):
        outcome = made.step(x, target, torch.ones(4, 200), progress=progress, compute=torch.float32)
        assert float(outcome.l0.sum()) == pytest.approx(wanted, abs=0.01)


def test_jumprelus_penalty_follows_the_falling_target() -> None:
    settings = {"loss": "jumprelu", "sparsity_weight": 0.25, "sparsity_warm_up": 0.0, "frequency_weight": 0.0}
    made = bank(first_threshold=0.2, first_l0=9.0, l0_decay=0.5, **settings)
    made.first_l0 = 9.0
    x = torch.randn(1, 30, 6)
    pre = (x - made.b_dec.unsqueeze(1)) @ made.w_enc.transpose(1, 2) + made.b_enc.unsqueeze(1)
    l0 = (pre > 0.2).sum(dim=2).float()
    for progress, wanted in ((0.0, 9.0), (0.25, 6.0), (1.0, 3.0)):
        loss = made.step(x, x, torch.zeros(1, 30), progress=progress, compute=torch.float32).loss
        torch.testing.assert_close(loss, 0.25 * (2 / wanted) * (l0 - wanted).square().mean())


def test_an_sae_goes_on_from_a_trained_one(tiny_gemma: Gemma, tmp_path: Path) -> None:
    settings = {"width": 32, "l0": 6, "layers": [1]}
    before = small_config(tmp_path / "before", banks=[settings])
    (report,) = train(before, model=tiny_gemma, source=source_of(before), origin={}).values()
    folder = before.out / "resid_post" / "layer_1_width_32_l0_medium"
    after = small_config(tmp_path / "after", banks=[{**settings, "begin_from": str(folder)}])
    trainer = trainer_of(after, tiny_gemma)
    shown = trainer.one_step()[0][0]
    fresh = trainer_of(small_config(tmp_path / "fresh", banks=[settings]), tiny_gemma).one_step()[0][0]
    assert float(shown.residual.square().sum()) < 0.9 * float(fresh.residual.square().sum())
    assert report.fvu < 1


def test_what_a_bank_cannot_begin_from_is_said(tiny_gemma: Gemma, tmp_path: Path, transcoders: str) -> None:
    def refused(error: type[Exception], sentence: str, **changes: Any) -> None:
        with pytest.raises(error, match=sentence):
            trainer_of(clt_config(tmp_path / "refused", transcoders, **changes), tiny_gemma)

    refused(NotFound, "no such folder", begin_from=str(tmp_path / "none_{layer}"))
    refused(BadInput, "names one folder for 4 layers", begin_from=transcoders.replace("{layer}", "0"))
    refused(BadInput, "has 24 features, and 50 are to be taken", width=200)
    refused(BadInput, r"reads mlp_in\.0 and writes mlp_out\.0", kind="sae", width=24, skip=False)
    refused(BadInput, "has 24 features, and the bank that begins from it 12", kind="transcoder", width=12)
    refused(BadInput, "A first L0 of 99", first_l0=99)


def test_a_run_of_before_these_settings_goes_on(tiny_gemma: Gemma, tmp_path: Path) -> None:
    config = small_config(tmp_path)
    trainer_of(config, tiny_gemma)
    noted = config.out / "run" / "run.json"
    found = json.loads(noted.read_text())
    for each in found["banks"]:
        for later in ("begin_from", "first_l0", "l0_decay"):
            del each[later]
    noted.write_text(json.dumps(found))
    trainer_of(config, tiny_gemma)
