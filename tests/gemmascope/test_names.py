"""Names of every kind, there and back."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemmascope.addresses import Address
from gemmascope.catalogue import Entry, all_entries
from gemmascope.hub import parse_hf
from gemmascope.models import MODELS
from gemmascope.names import (
    Local,
    Name,
    Starter,
    UnknownName,
    named,
    nearest,
    neuronpedia_id,
    neuronpedia_url,
    parse_any,
    parse_folder,
    parse_hub,
    parse_local,
    parse_saelens,
    parse_source_id,
    published_ids,
    source_id,
    split,
)
from gemmascope.widths import width_name, width_of

ENTRIES = list(all_entries())
entry = st.sampled_from(ENTRIES)


def test_each_of_all_entries_has_one_name_of_each_kind_and_each_leads_back() -> None:
    seen: set[str] = set()
    for e in ENTRIES:
        names = {f"{e.name.model}@{e.source}", f"{e.name.hf_repo}/{e.name.hf_folder}#{e.layer}"}
        assert parse_source_id(e.name.model, e.source) == (e.name, e.layer)
        assert source_id(e.name, e.layer) == e.source
        assert parse_hf(e.name.hf_repo, e.name.hf_folder) == e.name
        if e.saelens:
            names.add(str(e.saelens))
            assert parse_saelens(*e.saelens) == e.name
        if e.neuronpedia:
            assert e.neuronpedia == f"{e.name.model}/{e.source}"
        assert not names & seen
        seen |= names


@given(entry, st.data())
def test_a_feature_is_found_by_everything_one_may_paste(e: Entry, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, e.width - 1))
    address = Address(e.name.model, e.source, index)
    forms = [
        address.path,
        str(address),
        f"https://www.neuronpedia.org{address.path}?embed=true&embedexplanation=true&defaulttesttext=a/b#x",
        f"neuronpedia.org{address.path}",
        f"http://localhost:3000/user/x/proxy/3000{address.path}.json?n=3",
        f"/api/feature{address.path}",
    ]
    shard = "params.safetensors"
    if e.name.multi_layer:
        shard = f"params_layer_{e.name.all_layers.index(e.layer)}.safetensors"
    forms += [
        f"{e.name.hf_repo}/{e.name.hf_folder}/{shard}:{index}",
        f"hf://{e.name.hf_repo}@main/{e.name.hf_folder}/{shard}:{index}",
        f"{e.name.hf_repo} {e.name.hf_folder}/{shard} {index}",
    ]
    if e.saelens:
        forms += [f"{e.saelens}:{index}", f"{e.saelens.release} {e.saelens.id} {index}"]
        forms += [f"('{e.saelens.release}', '{e.saelens.id}') {index}"]
    for form in forms:
        assert parse_any(form).address == address, form
    assert parse_any(f"{e.source}:{index}", e.name.model).address == address
    assert parse_any(f"{e.source}/{index}", e.name.model).address == address


@given(entry)
def test_a_dictionary_is_found_by_its_folder(e: Entry) -> None:
    for form in (
        f"{e.name.hf_repo}/{e.name.hf_folder}",
        e.name.location,
        f"{e.name.location}@0123abc",
        f"hf://{e.name.hf_repo}/{e.name.hf_folder}/",
        f"https://huggingface.co/{e.name.hf_repo}/tree/main/{e.name.hf_folder}",
        f"https://huggingface.co/{e.name.hf_repo}/blob/main/{e.name.hf_folder}/config.json",
    ):
        assert parse_any(form).name == e.name, form
        assert parse_hub(form).name == e.name, form
    assert parse_any(e.name.hf_folder, e.name.model).name == e.name


sizes = st.sampled_from(sorted(MODELS))


@given(
    sizes, st.integers(0, 17), st.sampled_from([("resid_post", "medium", False), ("transcoder_all", "small", True)]),
    st.integers(1, 1 << 22),
)  # fmt: skip
def test_starter_sources_lead_back(model: str, layer: int, what: tuple[str, str, bool], width: int) -> None:
    folder, l0, affine = what
    name = Starter(model=model, folder=folder, layers=(layer,), width=width_name(width), l0=l0, affine=affine)
    assert parse_source_id(model, source_id(name)) == (name, layer)
    assert parse_any(source_id(name), model).name == name


def test_starter_sources_are_named_by_set_and_width() -> None:
    name, layer = parse_source_id("gemma-3-270m", "12-starter-res-4k")
    assert isinstance(name, Starter)
    assert (layer, name.total_width) == (12, 4096)
    assert name.location == "starter/gemma-3-270m/resid_post/layer_12_width_4k_l0_medium"
    name, layer = parse_source_id("gemma-3-270m", "0-starter-transcoder-512")
    assert isinstance(name, Starter)
    assert name.location == "starter/gemma-3-270m/transcoder_all/layer_0_width_512_l0_small_affine"


slugs = st.from_regex(r"[a-z0-9_]{1,12}(?:[-.][a-z0-9_]{1,8}){0,3}", fullmatch=True)


@given(sizes, st.integers(0, 61), slugs.filter(lambda slug: not slug.startswith("starter")))
def test_what_people_added_leads_back_once_it_is_known(model: str, layer: int, slug: str) -> None:
    name = Local(model=model, layer=layer, slug=slug)
    assert parse_local(model, source_id(name)) == name
    found = parse_any(f"{model}/{source_id(name)}/7", known={source_id(name)})
    assert (found.name, found.index) == (name, 7)


@pytest.mark.parametrize(
    "taken", ["1-gemmascope-2-res-16k", "1-starter-x", "Upper", "12", "12-", "12-a/b", "12-a b", "1-"]
)
def test_ids_of_other_families_cannot_be_taken(taken: str) -> None:
    with pytest.raises(UnknownName):
        parse_local("gemma-3-270m", taken)


@given(st.integers(1, 1 << 29))
def test_widths_lead_back(width: int) -> None:
    assert width_of(width_name(width)) == width


def test_widths_are_written_as_in_the_folders() -> None:
    widths = (512, 1024, 4096, 16384, 65536, 262144, 524288, 1048576, 14560)
    assert [width_name(w) for w in widths] == ["512", "1k", "4k", "16k", "65k", "262k", "524k", "1m", "14560"]


valid = st.one_of(
    entry.map(lambda e: f"{e.name.model}/{e.source}/1"),
    entry.map(lambda e: f"{e.name.hf_repo}/{e.name.hf_folder}"),
    entry.map(lambda e: str(e.saelens or e.source)),
    entry.map(lambda e: e.source),
    st.sampled_from(
        ["https://www.neuronpedia.org/gemma-3-1b/13-gemmascope-2-res-16k/42", "hf://google/gemma-scope-2-1b-pt"]
    ),
)


@st.composite
def garbled(draw: st.DrawFn) -> str:
    """A valid name, cut and patched in one place."""
    text = draw(valid)
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 5)))
    patch = draw(st.text(string.ascii_letters + string.digits + "/:@-_ ?#[]%.", max_size=4) | st.text(max_size=3))
    return text[:start] + patch + text[end:]


@given(st.text(max_size=80) | garbled(), st.none() | sizes)
@example("http://[", None)
@example("٣-gemmascope-2-res-16k", "gemma-3-1b")
@example("13-gemmascope-2-res-99999999999999999999k", "gemma-3-1b")
@example("gemma-3-1b@13-gemmascope-2-res-16k:99999999999999999999", None)
@example("hf://", None)
@example("google/gemma-scope-2-9b-pt/resid_post/layer_1_width_16k_l0_small", None)
@example("hf:google/gemma-scope-2-9b-pt", None)
@example("x" * 3000, None)
def test_garbage_is_refused_in_a_sentence_and_in_no_other_way(text: str, model: str | None) -> None:
    sentence = ""
    found = None
    try:
        found = parse_any(text, model)
    except UnknownName as error:
        sentence = str(error)
    if found is None:
        assert sentence.endswith(".")
        assert len(sentence) < 1000
    elif found.source is not None:
        assert parse_any(found.address.path) == found


@given(st.text(max_size=60), st.text(max_size=60))
def test_garbage_in_two_parts_is_refused_in_a_sentence(first: str, second: str) -> None:
    for parse in (parse_hf, parse_saelens):
        with pytest.raises(UnknownName):
            parse(first, second)
    with pytest.raises(UnknownName):
        parse_source_id("gemma-3-270m", first)
    with pytest.raises(UnknownName):
        parse_folder(first)


@pytest.mark.parametrize(
    ("text", "model", "answer"),
    [
        ("14-gemmascope-2-res-16k", "gemma-3-1b", "13-gemmascope-2-res-16k"),
        ("13-gemascope-2-res-16k", "gemma-3-1b", "13-gemmascope-2-res-16k"),
        ("gemma-3-1b/13-gemmascope-2-res-32k/1", None, "13-gemmascope-2-res-262k"),
        ("gemma-scope-2-1b-pt-res/layer_14_width_16k_l0_medium", None, "layer_13_width_16k_l0_medium"),
        ("gemma-scope-2-1b-pt-resid/layer_13_width_16k_l0_medium", None, "gemma-scope-2-1b-pt-res"),
        ("google/gemma-scope-2-1b-pt/resid_post/layer_13_width_16k", None, "resid_post/layer_13_width_16k_l0_medium"),
        ("gemma-3-1b/gemmascope-2-res-16k", None, "13-gemmascope-2-res-16k"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_that_exist(text: str, model: str | None, answer: str) -> None:
    with pytest.raises(UnknownName) as caught:
        parse_any(text, model)
    assert answer in caught.value.nearest
    assert answer in str(caught.value)


def test_the_nearest_names_are_exactly_found_among_all_of_them() -> None:
    everything = [f"{e.name.model}/{e.source}" for e in ENTRIES]
    for wanted in everything[::997]:
        assert nearest(wanted, everything)[0] == wanted
    assert nearest("", everything) == ()
    assert nearest("§§§§", everything) == ()


def test_gaps_are_not_suggested() -> None:
    assert "9-gemmascope-2-transcoder-16k-l0-small" not in published_ids("gemma-3-270m")
    assert "9-gemmascope-2-transcoder-16k-l0-small-affine" in published_ids("gemma-3-270m")


def test_an_index_past_the_end_is_refused() -> None:
    with pytest.raises(UnknownName, match="0 to 16383"):
        parse_any("gemma-3-1b/13-gemmascope-2-res-16k/16384")
    with pytest.raises(UnknownName, match="0 to 10079"):
        parse_any("gemma-3-1b/13-gemmascope-2-clt-262k-l0-big/10080")


@pytest.mark.parametrize(
    ("spelling", "source"),
    [
        ("13-gemmascope-2-res-16k-l0-medium", "13-gemmascope-2-res-16k"),
        ("3-gemmascope-2-transcoder-all-16k-l0-small-affine", "3-gemmascope-2-transcoder-16k"),
        ("13-gemmascope-2-mlp-16k", "13-gemmascope-2-mlp-16k-l0-medium"),
        ("13-gemmascope-2-att-65k", "13-gemmascope-2-att-65k-l0-medium"),
    ],
)
def test_other_spellings_of_a_source_lead_to_its_one_id(spelling: str, source: str) -> None:
    assert parse_any(spelling, "gemma-3-1b").source == source


def test_the_seeded_dictionary_is_not_taken_for_the_plain_one() -> None:
    plain, _ = parse_source_id("gemma-3-1b", "13-gemmascope-2-res-262k")
    seeded, _ = parse_source_id("gemma-3-1b", "13-gemmascope-2-res-262k-l0-medium-seed-1")
    assert (plain.path + "_seed_1", plain.seed, seeded.seed) == (seeded.path, None, 1)


def test_names_that_google_did_not_publish_are_read_when_asked_for() -> None:
    with pytest.raises(UnknownName):
        parse_source_id("gemma-3-4b", "0-gemmascope-2-clt-262k-l0-big")
    name, layer = parse_source_id("gemma-3-4b", "0-gemmascope-2-clt-262k-l0-big", published=False)
    assert (name.path, layer) == ("clt/width_262k_l0_big", 0)
    assert named("gemma-3-4b", parse_folder("/some/where/clt/width_262k_l0_big/config.json")) == name


def test_a_multi_layer_dictionary_wants_to_know_which_layer() -> None:
    found = parse_any("google/gemma-scope-2-270m-pt/clt/width_262k_l0_big")
    assert (found.source, found.layer) == (None, None)
    with pytest.raises(UnknownName, match="say which one"):
        source_id(found.name)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="say which one"):
        parse_any("google/gemma-scope-2-270m-pt/clt/width_262k_l0_big:5")
    with pytest.raises(UnknownName, match="no layer 18"):
        source_id(found.name, 18)  # type: ignore[arg-type]


def test_only_what_neuronpedias_convention_names_has_an_id_there() -> None:
    assert neuronpedia_url(parse_source_id("gemma-3-1b", "13-gemmascope-2-res-16k")[0], 42) == (  # type: ignore[arg-type]
        "https://www.neuronpedia.org/gemma-3-1b/13-gemmascope-2-res-16k/42"
    )
    for e in ENTRIES:
        assert (neuronpedia_id(e.name) is None) == ("-l0-" in e.source)
        assert (neuronpedia_url(e.name) is None) == ("-l0-" in e.source)


def test_sites_are_spelled_out() -> None:
    def sites(folder: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        name: Name = named("gemma-3-270m", parse_folder(folder))
        return name.read_sites, name.write_sites

    assert sites("transcoder_all/layer_3_width_16k_l0_big") == (("mlp_in.3",), ("mlp_out.3",))
    assert sites("attn_out/layer_5_width_16k_l0_big") == (("attn_out.5",), ("attn_out.5",))
    assert sites("crosscoder/layer_5_9_12_15_width_65k_l0_big")[0] == tuple(f"resid_post.{i}" for i in (5, 9, 12, 15))
    assert sites("clt/width_262k_l0_big")[1] == tuple(f"mlp_out.{i}" for i in range(18))


def test_addresses_of_any_source_are_split_without_knowing_it() -> None:
    assert split("/gemma-3-1b/12-my-own/3") == Address("gemma-3-1b", "12-my-own", 3)
    assert split("/gemma-3-1b/12-my-own/plots") == Address("gemma-3-1b", "12-my-own")
    assert split("https://www.neuronpedia.org/gemma-3-1b") == Address("gemma-3-1b")
