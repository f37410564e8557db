"""Whole runs on the tiny model, in seconds."""

import errno
import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from inference.dictionaries.dictionary import Dictionary
from inference.errors import BadInput, Unavailable
from inference.gemma.model import Gemma
from inference.gemma.sites import Site
from inference.training import export, saving
from inference.training.calibrate import Report
from inference.training.config import TrainConfig
from inference.training.metrics import Row
from inference.training.run import Diverged, Stopped, Trainer, train
from inference.training.schedule import rate_factor, steps_in_time
from inference.training.sources import TokenFile
from tests.inference.training.made import Losing, PlantedReader, small_config

RESIDUAL = "resid_post/layer_1_width_64_l0_medium"
TRANSCODER = "transcoder_all/layer_2_width_32_l0_small_affine"


def source_of(config: TrainConfig) -> TokenFile:
    return TokenFile(Path(config.source["path"]), passage_tokens=config.passage_tokens, seed=config.seed)


def run(config: TrainConfig, model: Any, **told: Any) -> dict[str, Report]:
    return train(config, model=model, source=source_of(config), origin={"checkpoint_sha256": "0"}, **told)


def weights(config: TrainConfig, folder: str) -> dict[str, torch.Tensor]:
    return dict(load_file(config.out / folder / "params.safetensors"))


def same_results(one: TrainConfig, other: TrainConfig) -> None:
    for folder in (RESIDUAL, TRANSCODER):
        mine, theirs = weights(one, folder), weights(other, folder)
        for name, tensor in mine.items():
            assert torch.equal(tensor, theirs[name]), name
    assert (one.out / "report.json").read_text() == (other.out / "report.json").read_text()


def stopping_at(step: int) -> Any:
    def progress(row: Row) -> None:
        if row.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return progress


def test_a_stopped_run_ends_in_the_same_bits_as_an_undisturbed_one(tiny_gemma: Gemma, tmp_path: Path) -> None:
    whole, stopped = small_config(tmp_path / "whole"), small_config(tmp_path / "stopped")
    run(whole, tiny_gemma)
    with pytest.raises(Stopped, match="after step 12 of 24"):
        run(stopped, tiny_gemma, progress=stopping_at(12))
    run(stopped, tiny_gemma)
    same_results(whole, stopped)
    steps = [json.loads(line)["step"] for line in (stopped.out / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == [4, 8, 12, 16, 20, 24]


def test_a_killed_run_goes_on_from_its_last_state(tiny_gemma: Gemma, tmp_path: Path) -> None:
    whole, killed = small_config(tmp_path / "whole"), small_config(tmp_path / "killed")
    run(whole, tiny_gemma)

    class Killed(BaseException):
        pass

    def die(row: Row) -> None:
        if row.step == 20:
            raise Killed

    with pytest.raises(Killed):
        run(killed, tiny_gemma, progress=die)
    assert json.loads((killed.out / "run" / saving.LAST).read_text()) == {"state": "step_000000016"}
    run(killed, tiny_gemma)
    same_results(whole, killed)


def test_a_run_whose_last_state_is_damaged_ends_in_the_same_bits(tiny_gemma: Gemma, tmp_path: Path) -> None:
    whole, damaged = small_config(tmp_path / "whole"), small_config(tmp_path / "damaged")
    run(whole, tiny_gemma)
    with pytest.raises(Stopped):
        run(damaged, tiny_gemma, progress=stopping_at(12))
    (damaged.out / "run" / "step_000000012" / "state.safetensors").write_bytes(b"")
    told: list[str] = []
    run(damaged, tiny_gemma, told=told.append)
    assert "step_000000012 is damaged" in told[0]
    same_results(whole, damaged)


def test_a_run_may_go_on_under_another_name_and_log_interval_but_not_as_another_run(
    tiny_gemma: Gemma, tmp_path: Path
) -> None:
    config = small_config(tmp_path)
    with pytest.raises(Stopped):
        run(config, tiny_gemma, progress=stopping_at(8))
    other = replace(config, seed=1)
    with pytest.raises(BadInput, match="belongs to another run: seed differ"):
        run(other, tiny_gemma)
    run(replace(config, log_every_steps=6), tiny_gemma)


def test_dictionaries_come_in_gemma_scope_2s_folders_at_their_declared_l0(tiny_gemma: Gemma, tmp_path: Path) -> None:
    config = small_config(tmp_path)
    reports = run(config, tiny_gemma)
    assert set(reports) == {RESIDUAL, RESIDUAL.replace("1", "2"), TRANSCODER}
    for folder, report in reports.items():
        dictionary = Dictionary(config.out / folder)
        assert report.l0 == pytest.approx(dictionary.spec.declared_l0, rel=0.02)
    spec = Dictionary(config.out / TRANSCODER).spec
    assert (spec.kind, spec.read, spec.write, spec.skip) == (
        "transcoder", (Site("mlp_in", 2),), (Site("mlp_out", 2),), True,
    )  # fmt: skip


def test_the_report_is_what_the_saved_files_do_on_held_out_text(tiny_gemma: Gemma, tmp_path: Path) -> None:
    config = small_config(tmp_path)
    report = run(config, tiny_gemma)[TRANSCODER]
    held_out = torch.from_numpy(source_of(config).held_out(-(-512 // 15)))
    sites = [Site("mlp_in", 2), Site("mlp_out", 2)]
    x, target = (value[:, 1:].reshape(-1, 32) for value in tiny_gemma.read_sites(held_out, sites).values())
    dictionary = Dictionary(config.out / TRANSCODER)
    features = dictionary.encode(x)
    out = dictionary.decode(features, x=x)
    assert float((features > 0).sum() / len(x)) == pytest.approx(report.l0, rel=1e-3)
    error = (target - out).square().sum() / (target - target.mean(dim=0)).square().sum()
    assert report.fvu == pytest.approx(float(error), rel=1e-3)


def test_a_skip_begins_at_the_least_squares_map(tiny_gemma: Gemma, tmp_path: Path) -> None:
    config = small_config(tmp_path)
    trainer = Trainer(config, model=tiny_gemma, source=source_of(config), origin={})
    trainer.begin()
    read, write = trainer.reads[1][0], trainer.writes[1][0]
    x = trainer.scalings[read].apply(trainer.stream.sample(read, 10_000))
    target = trainer.scalings[write].apply(trainer.stream.sample(write, 10_000))
    skip = trainer.banks[1].skip
    assert skip is not None
    left = (target - x @ skip[0]).square().sum()
    assert left < 0.9 * target.square().sum()
    for direction in torch.randn(3, *skip[0].shape):
        assert (target - x @ (skip[0] + 0.01 * direction)).square().sum() > left


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_state(
    tiny_gemma: Gemma, tmp_path: Path
) -> None:
    config = small_config(tmp_path, buffer_bytes=64 * 5 * 32 * 4 * 8)
    losing = Losing(tiny_gemma, after=8)
    with pytest.raises(Diverged, match=r"stopped being a number at step 1\d\. The state of step_000000008 is kept"):
        run(config, losing)
    tensors, record = saving.load_state(config.out / "run", torch.device("cpu")) or ({}, {})
    assert record["step"] == 8
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


@pytest.mark.parametrize("every", [1, 8])
def test_parameters_that_an_update_ruined_are_never_kept(tiny_gemma: Gemma, tmp_path: Path, every: int) -> None:
    bank = {"width": 64, "l0": 8, "layers": [1], "learning_rate": 1e30}
    config = small_config(tmp_path, banks=[bank], checkpoint_every_steps=every)
    for _ in range(2):
        with pytest.raises(Diverged, match=r"at step 1\. There is no earlier state, .* and another output folder"):
            run(config, tiny_gemma)
    assert [path.name for path in (config.out / "run").glob("step_*")] == []
    followed = small_config(tmp_path / "lower", banks=[{**bank, "learning_rate": 1e-3}])
    assert run(followed, tiny_gemma)


def test_parameters_ruined_at_the_end_are_not_written_and_the_state_before_is_kept(
    tiny_gemma: Gemma, tmp_path: Path
) -> None:
    config = small_config(tmp_path)
    trainer = Trainer(config, model=tiny_gemma, source=source_of(config), origin={})
    trainer.begin()
    trainer.one_step()
    trainer.save()
    before = [buffer.clone() for bank in trainer.banks for buffer in bank.buffers()]
    trainer.one_step()
    with torch.no_grad():
        trainer.banks[1].w_enc[0, 3, 2] = float("nan")
    with pytest.raises(Diverged, match=r"at step 2\. The state of step_000000001 is kept"):
        trainer.save()
    tensors, record = saving.load_state(config.out / "run", torch.device("cpu")) or ({}, {})
    assert record["step"] == 1
    kept = [tensors[f"bank.{n}.{name}"] for n, bank in enumerate(trainer.banks) for name, _ in bank.named_buffers()]
    assert all(torch.equal(*pair) for pair in zip(before, kept, strict=True))


def test_a_full_disk_keeps_the_last_state_and_says_so(
    tiny_gemma: Gemma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(tmp_path)
    write = saving.save_file

    def full(tensors: Any, path: Path, *rest: Any) -> None:
        if "step_000000016" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(tensors, path, *rest)

    monkeypatch.setattr(saving, "save_file", full)
    with pytest.raises(Unavailable, match="The disk is full: the state of step 16"):
        run(config, tiny_gemma)
    monkeypatch.undo()
    whole = small_config(tmp_path / "whole")
    run(config, tiny_gemma)
    run(whole, tiny_gemma)
    same_results(config, whole)


FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_when_a_dictionary_is_written_loses_no_training(
    tiny_gemma: Gemma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, whole = small_config(tmp_path), small_config(tmp_path / "whole")
    write = export.write_folder

    def full(path: Path, *rest: Any, **settings: Any) -> None:
        if path.name == Path(TRANSCODER).name:
            raise FULL
        write(path, *rest, **settings)

    monkeypatch.setattr(export, "write_folder", full)
    with pytest.raises(Unavailable, match="The disk is full: the dictionary layer_2_width_32"):
        run(config, tiny_gemma)
    monkeypatch.undo()
    run(config, tiny_gemma)
    run(whole, tiny_gemma)
    same_results(config, whole)


def test_a_disk_that_is_full_when_a_line_is_logged_says_so(tiny_gemma: Gemma, tmp_path: Path) -> None:
    config = small_config(tmp_path)
    (config.out / "run").mkdir(parents=True)
    (config.out / "run" / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(Unavailable, match="The disk is full: a line of the log"):
        run(config, tiny_gemma)


def test_a_refused_run_leaves_its_folder_to_another(tiny_gemma: Gemma, tmp_path: Path) -> None:
    config = small_config(tmp_path)
    for bank in ({"width": 64, "l0": 8, "layers": [4]}, {"width": 64, "l0": 8, "kind": "clt", "layers": [1]}):
        with pytest.raises(BadInput):
            run(small_config(tmp_path, banks=[bank]), tiny_gemma)
    assert not config.out.exists()


def test_planted_features_are_recovered(tmp_path: Path) -> None:
    reader = PlantedReader(features=24, d=32, active=2)
    config = small_config(
        tmp_path,
        banks=[{"width": 32, "l0": 2, "layers": [0], "learning_rate": 3e-3, "dead_after_tokens": 20_000}],
        tokens=256 * 500, batch_tokens=256, forward_tokens=2048, buffer_bytes=32 * 4 * 8192, log_every_steps=50,
        checkpoint_every_steps=10_000,
    )  # fmt: skip
    rows: list[Row] = []
    report = run(config, reader, progress=rows.append)["resid_post/layer_0_width_32_l0_medium"]
    rows_found = weights(config, "resid_post/layer_0_width_32_l0_medium")["w_dec"]
    cosine = torch.nn.functional.normalize(rows_found, dim=1) @ reader.directions.T
    assert float(cosine.max(dim=0).values.mean()) > 0.9
    assert rows[-1].dictionaries[0].fvu < rows[0].dictionaries[0].fvu
    assert report.fvu < 0.2


def test_jumprelu_brings_the_l0_to_its_target(tmp_path: Path) -> None:
    reader = PlantedReader(features=24, d=32, active=3)
    bank = {
        "width": 32, "l0": 3, "layers": [0], "loss": "jumprelu", "learning_rate": 3e-3, "bandwidth": 0.1,
        "first_threshold": 0.1, "sparsity_weight": 0.02,
    }  # fmt: skip
    config = small_config(
        tmp_path, banks=[bank], tokens=256 * 500, batch_tokens=256, forward_tokens=2048, buffer_bytes=32 * 4 * 8192,
        log_every_steps=50, checkpoint_every_steps=10_000,
    )  # fmt: skip
    rows: list[Row] = []
    run(config, reader, progress=rows.append)
    assert rows[-1].dictionaries[0].l0 == pytest.approx(3, rel=0.35)
    assert rows[-1].dictionaries[0].fvu < 0.3


def test_a_cross_layer_transcoder_trains_and_is_written_layer_by_layer(tiny_gemma: Gemma, tmp_path: Path) -> None:
    config = small_config(tmp_path, banks=[{"kind": "clt", "width": 64, "l0": 8, "skip": True, "prefixes": [16, 64]}])
    reports = run(config, tiny_gemma)
    assert sum(report.l0 for report in reports.values()) == pytest.approx(8, rel=0.02)
    dictionary = Dictionary(config.out / "clt" / "width_64_l0_medium_affine")
    assert dictionary.spec.kind == "clt"
    assert dictionary.spec.total_width == 64
    assert dictionary.anticausal_peaks() == (0.0,) * 4


def test_the_rate_rises_along_a_cosine_and_falls_to_nothing() -> None:
    assert rate_factor(0.0, warm_up=0.1, decay=0.25) == pytest.approx(0.1)
    assert rate_factor(0.05, warm_up=0.1, decay=0.25) == pytest.approx(0.55)
    assert rate_factor(0.5, warm_up=0.1, decay=0.25) == 1.0
    assert rate_factor(0.875, warm_up=0.1, decay=0.25) == pytest.approx(0.5)
    assert rate_factor(1.0, warm_up=0.1, decay=0.25) == 0.0


def test_a_time_limit_shortens_the_schedule_and_nothing_else() -> None:
    assert steps_in_time(planned=1000, done=100, elapsed_s=50, limit_s=None, step_s=0.5) == 1000
    assert steps_in_time(planned=1000, done=100, elapsed_s=50, limit_s=250, step_s=0.5) == 500
    assert steps_in_time(planned=1000, done=100, elapsed_s=50, limit_s=5000, step_s=0.5) == 1000
    assert steps_in_time(planned=1000, done=100, elapsed_s=300, limit_s=250, step_s=0.5) == 100


def test_a_run_outside_the_main_thread_trains_without_signals(tiny_gemma: Gemma, tmp_path: Path) -> None:
    config = small_config(tmp_path)
    done: list[dict[str, Report]] = []
    thread = threading.Thread(target=lambda: done.append(run(config, tiny_gemma)))
    thread.start()
    thread.join()
    assert len(done) == 1
