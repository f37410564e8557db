"""The catalogue against what others list: SAELens' catalogue by fingerprint, and figures from the technical paper."""

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from gemmascope import published
from gemmascope.catalogue import all_entries, by_source, entries
from gemmascope.models import MODELS, find_model
from gemmascope.neuronpedia import has_page
from gemmascope.saelens import releases

LISTED = [
    line.split()
    for line in Path(__file__).with_name("saelens_releases.txt").read_text().splitlines()
    if not line.startswith("#")
]


def test_saelens_lists_exactly_our_confirmed_single_layer_dictionaries() -> None:
    """Ids, paths, sparsities and Neuronpedia bindings of all 8784 entries, release by release."""
    lines: dict[str, list[str]] = defaultdict(list)
    repositories = {}
    for entry in all_entries():
        if pair := entry.saelens:
            bound = entry.neuronpedia if has_page(entry.name) else "-"
            lines[pair.release].append(f"{pair.id} {entry.name.path} {entry.declared_l0} {bound}")
            repositories[pair.release] = entry.name.facts.hf_repo
    ours = [
        [
            release,
            repositories[release],
            str(len(found)),
            hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:16],
        ]
        for release, found in sorted(lines.items())
    ]
    assert ours == LISTED
    assert len(ours) == 75
    assert sum(map(len, lines.values())) == 8784


def test_releases_have_the_counts_of_the_model_cards() -> None:
    counts = {release: len(ids) for release, ids in releases().items()}
    for model in MODELS.values():
        base = model.scope_repo.removeprefix("google/")
        if model.id == "gemma-3-27b":
            assert not any(f"{base}-{part}" in counts for part in ("att", "att-all", "mlp", "mlp-all", "transcoders"))
        else:
            assert counts[f"{base}-att"] == 36
            assert counts[f"{base}-att-all"] == counts[f"{base}-mlp-all"] == 4 * model.layers
            assert counts[f"{base}-mlp"] == (48 if model.size == "1b" else 36)
            assert counts[f"{base}-transcoders"] == (2 if model.id == "gemma-3-270m" else 72)
        assert counts[f"{base}-res"] == 52
        assert counts[f"{base}-res-all"] == 4 * model.layers
        assert counts[f"{base}-transcoders-all"] == (491 if model.size == "27b" else 8 * model.layers)


def test_every_confirmed_single_layer_dictionary_has_a_saelens_name_and_no_other_has() -> None:
    for entry in all_entries():
        single = not entry.name.multi_layer
        assert (entry.saelens is not None) == (single and entry.status == "confirmed"), entry


def test_sources_are_unique_within_a_model() -> None:
    for model in MODELS:
        assert len(by_source(model)) == len(entries(model))
        assert len({(entry.name, entry.layer) for entry in entries(model)}) == len(entries(model))


@pytest.mark.parametrize(
    ("model", "width", "per_layer", "total"),
    [("gemma-3-270m", "262k", 14_560, 262_080), ("gemma-3-1b", "262k", 10_080, 262_080),
     ("gemma-3-270m", "524k", 29_120, 524_160), ("gemma-3-1b-it", "524k", 20_160, 524_160)],
)  # fmt: skip
def test_cross_layer_transcoders_divide_their_width(model: str, width: str, per_layer: int, total: int) -> None:
    suite = [e for e in entries(model) if e.name.folder == "clt" and e.name.width == width and e.name.l0 == "big"]
    plain = [e for e in suite if not e.name.affine]
    assert [e.layer for e in plain] == list(range(MODELS[model].layers))
    assert {e.width for e in plain} == {per_layer}
    assert sum(e.width for e in plain) == total
    assert {e.declared_l0 for e in plain} == {150}


def test_crosscoders_stand_on_the_four_deep_layers() -> None:
    for model in MODELS.values():
        suite = [e for e in entries(model.id) if e.name.folder == "crosscoder"]
        assert {e.layer for e in suite} == set(model.deep_layers)
        assert {e.width for e in suite} == {16_384, 65_536, 131_072, 262_144}
        assert Counter(e.name.l0 for e in suite) == {"medium": 16, "big": 16}


def test_only_the_two_small_sizes_have_cross_layer_transcoders() -> None:
    assert {e.name.facts.size for e in all_entries() if e.name.folder == "clt"} == {"270m", "1b"}


def test_hooks_are_those_of_the_configuration_files() -> None:
    def hooks(source: str) -> tuple[str, str]:
        entry = by_source("gemma-3-1b")[source]
        return entry.hook_in, entry.hook_out

    norm = "model.layers.12.{}_feedforward_layernorm.output"
    assert hooks("12-gemmascope-2-transcoder-16k") == (norm.format("pre"), norm.format("post"))
    assert hooks("12-gemmascope-2-clt-262k-l0-big") == (norm.format("pre"), norm.format("post"))
    assert hooks("12-gemmascope-2-mlp-all-16k-l0-big") == (norm.format("post"), norm.format("post"))
    assert hooks("12-gemmascope-2-att-all-16k-l0-big") == ("model.layers.12.self_attn.o_proj.input",) * 2
    assert hooks("13-gemmascope-2-crosscoder-65k-l0-big") == ("model.layers.13.output",) * 2
    assert hooks("12-gemmascope-2-res-all-16k-l0-big") == ("model.layers.12.output",) * 2


def test_what_was_reported_of_multi_layer_dictionaries_is_kept_apart_from_what_the_rule_expects() -> None:
    def statuses(model: str, folder: str) -> Counter[str]:
        return Counter(published.status(name) for name in published.names(model) if name.folder == folder)

    assert statuses("gemma-3-27b-it", "crosscoder") == {"confirmed": 6, "absent": 2}
    assert statuses("gemma-3-270m", "crosscoder") == {"confirmed": 1, "expected": 7}
    assert statuses("gemma-3-270m", "clt") == {"confirmed": 1, "expected": 7}
    assert statuses("gemma-3-4b", "crosscoder") == {"expected": 8}


def test_the_smallest_model_has_732_dictionaries() -> None:
    assert len(entries("gemma-3-270m")) == 732


@pytest.mark.parametrize(
    ("spelling", "model"),
    [
        ("gemma-3-270m", "gemma-3-270m"),
        ("google/gemma-3-270m", "gemma-3-270m"),
        ("google/gemma-3-270m-pt", "gemma-3-270m"),
        ("gemma-v3-270m", "gemma-3-270m"),
        ("google/gemma-v3-1b-pt", "gemma-3-1b"),
        ("gemma-3-1b-pt", "gemma-3-1b"),
        ("google/gemma-scope-2-270m-pt", "gemma-3-270m"),
        ("mwhanna/gemma-scope-2-27b-it", "gemma-3-27b-it"),
        (" Google/Gemma-3-4B-IT/ ", "gemma-3-4b-it"),
    ],
)
def test_a_model_is_found_by_every_spelling(spelling: str, model: str) -> None:
    assert find_model(spelling).id == model


def test_base_models_end_in_pt_on_the_hub_except_the_smallest() -> None:
    assert [m.hf_repo for m in MODELS.values() if not m.chat] == [
        "google/gemma-3-270m",
        *(f"google/gemma-3-{size}-pt" for size in ("1b", "4b", "12b", "27b")),
    ]


@pytest.mark.parametrize(
    "spelling", ["gemma-2-2b", "gemma-3-2b", "gemma-3", "gemma-scope-2", "", "gpt2", "x/gemma-3-1b"]
)
def test_other_models_are_refused_with_a_list_of_ours(spelling: str) -> None:
    with pytest.raises(ValueError, match="gemma-3-270m, gemma-3-270m-it"):
        find_model(spelling)


def test_attention_outputs_are_as_wide_as_all_heads_together() -> None:
    widths = [model.attn_width for model in MODELS.values() if not model.chat]
    assert widths == [1024, 1024, 2048, 4096, 4096]
