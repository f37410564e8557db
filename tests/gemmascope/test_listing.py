"""The catalogue corrected by what a repository holds."""

from gemmascope.catalogue import entries, merged
from gemmascope.published import names, status


def files(model: str) -> list[str]:
    """A listing of a repository that holds what we think it holds."""
    found = ["README.md", "resid_post/layer_5_width_16k_l0_medium/examples.safetensors"]
    for name in names(model):
        if status(name) != "absent":
            shards = [f"params_layer_{i}" for i in range(len(name.all_layers))] if name.multi_layer else ["params"]
            found += [f"{name.path}/config.json", *(f"{name.path}/{shard}.safetensors" for shard in shards)]
    return found


def test_a_repository_as_expected_confirms_everything() -> None:
    listing = merged("gemma-3-270m", files("gemma-3-270m"))
    assert (listing.missing, listing.unexpected) == ((), ())
    assert [e.source for e in listing.entries] == [e.source for e in entries("gemma-3-270m")]
    for before, after in zip(entries("gemma-3-270m"), listing.entries, strict=True):
        assert after.status == ("absent" if before.status == "absent" else "confirmed")


def test_a_folder_without_its_weights_is_missing() -> None:
    gone = "resid_post/layer_9_width_16k_l0_big"
    listing = merged("gemma-3-270m", [f for f in files("gemma-3-270m") if f != f"{gone}/params.safetensors"])
    assert listing.missing == (gone,)
    assert {e.source for e in listing.entries if e.status == "absent"} >= {"9-gemmascope-2-res-16k-l0-big"}


def test_half_a_cross_layer_transcoder_is_missing() -> None:
    cut = "clt/width_262k_l0_big/params_layer_17.safetensors"
    listing = merged("gemma-3-270m", [f for f in files("gemma-3-270m") if f != cut])
    assert listing.missing == ("clt/width_262k_l0_big",)


def test_a_gap_that_was_filled_is_confirmed() -> None:
    filled = "transcoder/layer_9_width_16k_l0_small"
    listing = merged("gemma-3-270m", [*files("gemma-3-270m"), f"{filled}/params.safetensors"])
    assert [e.status for e in listing.entries if e.name.path == filled] == ["confirmed"]
    assert listing.unexpected == ()


def test_what_the_rule_does_not_know_is_told_and_read_where_its_name_can_be() -> None:
    extra = ["resid_post/layer_6_width_16k_l0_medium/params.safetensors", "odd/one/params.safetensors", "clt/x/y.txt"]
    listing = merged("gemma-3-270m", [*files("gemma-3-270m"), *extra])
    assert listing.unexpected == ("odd/one", "resid_post/layer_6_width_16k_l0_medium")
    assert [(e.source, e.status) for e in listing.entries[len(entries("gemma-3-270m")) :]] == [
        ("6-gemmascope-2-res-16k", "confirmed")
    ]


def test_a_partial_cross_layer_transcoder_of_a_large_model_is_only_told() -> None:
    listing = merged("gemma-3-4b", ["clt/width_262k_l0_big/params_layer_0.safetensors"])
    assert listing.unexpected == ("clt/width_262k_l0_big",)
    assert not [e for e in listing.entries if e.name.folder == "clt"]
