"""Each self-test finds the mistake it is there for, and is quiet about dictionaries that are in order."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from inference.dictionaries import Dictionary
from inference.dictionaries.checks import check_files, check_measured, fraction_unexplained
from inference.dictionaries.examples import Examples, check_activations, check_top_logits
from inference.dictionaries.findings import Finding
from inference.dictionaries.single import unexplained
from inference.errors import BadInput
from inference.gemma.model import Gemma
from inference.gemma.sites import Site
from tests.inference.dictionaries.conftest import KINDS
from tests.inference.dictionaries.make import changed, rewrite
from tests.tiny_dictionaries import tiny_tensors, write_multi, write_single


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def declare(folder: Path, **changes: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_dictionaries_in_order_raise_no_finding(kind: str, folders: dict[str, Path]) -> None:
    findings = check_files(Dictionary(folders[kind]))
    assert [finding for finding in findings if finding.level != "ok"] == []
    assert json.loads(json.dumps([finding.as_json() for finding in findings]))[0]["level"] == "ok"


def test_zero_thresholds_and_zero_rows_are_counted(tmp_path: Path) -> None:
    tensors = tiny_tensors()
    tensors["threshold"][:5] = 0.0
    tensors["w_dec"][:3] = 0.0
    dictionary = Dictionary(changed(write_single(tmp_path, "resid_post", 1), tmp_path / "a", **tensors))
    found = by_check(check_files(dictionary))
    assert found["thresholds"].level == "warning"
    assert found["thresholds"].sentence.startswith("5 of 96 thresholds are zero")
    assert found["decoder"].sentence.startswith("3 of 96 decoder rows are zero")
    features = dictionary.encode(torch.randn(4, 32) * 10)
    assert bool(torch.isfinite(features).all())
    assert bool((features[:, :3] == 0).all())
    assert bool(torch.isfinite(dictionary.decode(features)).all())


def test_a_skip_that_the_name_does_not_promise_is_said(tmp_path: Path) -> None:
    plain = write_single(tmp_path, "transcoder", 0)
    extra = changed(plain, tmp_path / "a", affine_skip_connection=torch.ones(32, 32))
    sentences = [finding.sentence for finding in check_files(Dictionary(extra)) if finding.level == "warning"]
    assert any("names no skip connection, and the file has one" in sentence for sentence in sentences)
    affine = write_single(tmp_path, "transcoder", 0, affine=True)
    without = changed(affine, tmp_path / "b", affine_skip_connection=None)
    assert "promises skip connection" in by_check(check_files(Dictionary(without)))["skip"].sentence


def test_a_declared_width_that_is_not_there_is_said(tmp_path: Path) -> None:
    folder = declare(write_multi(tmp_path, "clt"), width=262144)
    found = by_check(check_files(Dictionary(folder)))["width"]
    assert found.sentence == "The configuration declares 262144 features, and the files have 384."


def test_decoder_entries_for_earlier_layers_are_a_warning(tmp_path: Path) -> None:
    source = write_multi(tmp_path, "crosscoder", layers=(0, 1))
    tensors = [tiny_tensors(targets=2, position=position) for position in range(2)]
    tensors[1]["w_dec"][7, 0, 3] = -0.5
    found = by_check(check_files(Dictionary(rewrite(source, tmp_path / "a", tensors))))["causality"]
    assert found.level == "warning"
    assert "up to 0.5" in found.sentence
    assert found.numbers == {"peak": 0.5}


def fitted(tmp_path: Path, *, transposed: bool = False, useless: bool = False) -> tuple[Dictionary, dict[Site, Tensor]]:
    """A skip transcoder of a target that it explains well, and the activations."""
    plain = write_single(tmp_path, "transcoder_all", 1, affine=True)
    dictionary = Dictionary(plain)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(200, 32, generator=draw)
    target = dictionary.decode(dictionary.encode(x), x=x) + 0.01 * torch.randn(200, 32, generator=draw)
    skip = dictionary.skip_connection()
    assert skip is not None
    stored = -skip if useless else skip.T if transposed else skip
    folder = changed(plain, tmp_path / "fitted", affine_skip_connection=stored)
    fires = float((dictionary.encode(x) > 0).sum(1).float().mean())
    declare(folder, l0=fires)
    return Dictionary(folder), {Site("mlp_in", 1): x, Site("mlp_out", 1): target}


def test_a_good_reconstruction_passes(tmp_path: Path) -> None:
    found = by_check(check_measured(*fitted(tmp_path)))
    assert {finding.level for finding in found.values()} == {"ok"}
    assert found["unexplained"].numbers["unexplained"] < 0.001
    assert found["l0"].numbers["measured"] == pytest.approx(found["l0"].numbers["declared"])


def test_a_transposed_skip_is_recognised(tmp_path: Path) -> None:
    found = by_check(check_measured(*fitted(tmp_path, transposed=True)))["skip"]
    assert found.level == "error"
    assert "the skip looks transposed" in found.sentence


def test_a_skip_that_does_harm_is_recognised(tmp_path: Path) -> None:
    found = by_check(check_measured(*fitted(tmp_path, useless=True)))["skip"]
    assert found.level == "warning"
    assert "it should help" in found.sentence


@pytest.mark.parametrize(
    ("factor", "level"), [(0.3, "warning"), (0.4, "ok"), (1.0, "ok"), (2.9, "ok"), (3.2, "warning")]
)
def test_an_l0_three_times_off_is_a_warning(factor: float, level: str, tmp_path: Path) -> None:
    dictionary, activations = fitted(tmp_path)
    declared = dictionary.spec.declared_l0
    assert declared is not None
    declare(dictionary.spec.folder, l0=declared * factor)
    found = by_check(check_measured(Dictionary(dictionary.spec.folder), activations))["l0"]
    assert found.level == level
    assert ("wrong hook" in found.sentence) == (level == "warning")


@pytest.mark.parametrize("kind", KINDS)
def test_measuring_works_on_every_kind(kind: str, folders: dict[str, Path], tiny_gemma: Gemma) -> None:
    dictionary = Dictionary(folders[kind])
    sites = {*dictionary.spec.read, *dictionary.spec.write}
    read = tiny_gemma.read_sites(torch.arange(3, 43)[None], sites)
    findings = check_measured(dictionary, {site: values[0, 1:] for site, values in read.items()})
    assert findings[0].check == "l0"
    assert findings[0].numbers["tokens"] == 39
    assert len(findings) == 1 + len(dictionary.spec.write)


def test_missing_activations_are_named(tmp_path: Path) -> None:
    dictionary, activations = fitted(tmp_path)
    site = Site("mlp_out", 1)
    with pytest.raises(BadInput, match=r"needs activations at mlp_out\.1"):
        check_measured(dictionary, {key: value for key, value in activations.items() if key != site})
    with pytest.raises(BadInput, match="at least two tokens; 1 came"):
        check_measured(dictionary, {key: value[:1] for key, value in activations.items()})


def test_unexplained_is_error_over_distance_from_the_bias() -> None:
    target, bias = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]]), torch.zeros(2)
    reconstruction = torch.tensor([[3.0, 4.0], [0.0, 0.5], [0.0, 0.0]])
    assert unexplained(target, reconstruction, bias).tolist() == [0.0, 0.25, 0.0]
    assert unexplained(target[2:], reconstruction[:1], bias).tolist() == [float("inf")]
    assert fraction_unexplained(target, target) == 0.0
    assert fraction_unexplained(target, target.mean(0).expand(3, 2)) == pytest.approx(1.0)


def with_examples(gemma: Gemma, folder: Path) -> Examples:
    """Examples as the authors computed them: raw values, found by plain loops over a few sequences."""
    dictionary = Dictionary(folder)
    site = dictionary.spec.read[0]
    tokens = torch.arange(5 * 12, dtype=torch.int32).view(5, 12) + 110
    x = gemma.read_sites(tokens.to(torch.int64), [site])[site]
    raw = dictionary.encode(x.flatten(0, 1)) / dictionary.norms()
    values, places = raw.topk(4, dim=0)
    logits = dictionary.decoder_rows(torch.arange(96)) @ gemma.unembedding.T.float()
    top = logits.topk(10, dim=1)
    tensors = {
        "tokens": tokens,
        "activations": values.T.contiguous(),
        "seq_ids": (places.T // 12).contiguous(),
        "positions": (places.T % 12).to(torch.int32).contiguous(),
        "top_tokens": top.indices.to(torch.int32),
        "top_logits": top.values.contiguous(),
    }
    save_file(tensors, folder / "examples.safetensors")
    return Examples(folder, width=96)


def test_examples_that_came_along_are_met_exactly_or_an_error(tiny_gemma: Gemma, tmp_path: Path) -> None:
    folder = write_single(tmp_path, "resid_post", 2, seed=9)
    examples, dictionary = with_examples(tiny_gemma, folder), Dictionary(folder)
    assert "tokens" in examples

    def activations_at(ids: Tensor, layer: int = 2) -> Tensor:
        site = Site("resid_post", layer)
        return tiny_gemma.read_sites(ids[None], [site])[site][0]

    met = check_activations(dictionary, examples, activations_at)
    assert (met.level, met.numbers["features"]) == ("ok", 8.0)
    assert met.numbers["median_difference"] < 1e-4
    assert "raw values" in met.sentence
    elsewhere = check_activations(dictionary, examples, lambda ids: activations_at(ids, layer=1))
    assert elsewhere.level == "error"
    assert check_top_logits(dictionary, examples, tiny_gemma.unembedding).level == "ok"
    other = Dictionary(write_single(tmp_path, "resid_post", 3, seed=10))
    assert check_top_logits(other, examples, tiny_gemma.unembedding).level == "error"
    assert "another model" in check_top_logits(dictionary, examples, tiny_gemma.unembedding[:20]).sentence


def test_examples_of_another_width_are_refused(tiny_gemma: Gemma, tmp_path: Path) -> None:
    folder = write_single(tmp_path, "resid_post", 2)
    with_examples(tiny_gemma, folder)
    with pytest.raises(BadInput, match=r"activations has shape \[96, 4\]; \[97, …\] would be right"):
        Examples(folder, width=97)


def test_examples_that_bring_nothing_to_compare_are_fine(tmp_path: Path) -> None:
    folder = write_single(tmp_path, "resid_post", 2)
    save_file({"feature_frequencies": torch.zeros(96, dtype=torch.float64)}, folder / "examples.safetensors")
    examples, dictionary = Examples(folder, width=96), Dictionary(folder)
    assert check_top_logits(dictionary, examples, torch.zeros(10, 32)).level == "ok"
    assert check_activations(dictionary, examples, lambda ids: torch.zeros(len(ids), 32)).level == "ok"
