"""The rows of `gemlens sources`."""

import json
from dataclasses import fields

from app.catalogue.rows import source_rows
from app.catalogue.view import InstalledRow, SourceRow
from gemmascope.catalogue import merged
from gemmascope.models import MODELS
from gemmascope.names import parse_any

FIELDS = (
    "source", "site", "kind", "layer", "width", "declared_l0", "hf_repo", "hf_folder", "neuronpedia", "saelens",
    "status", "installed",
)  # fmt: skip


def own(source: str, **facts: object) -> InstalledRow:
    given = {
        "model": "gemma-3-1b", "source": source, "layer": 3, "width": 512, "kind": "sae", "site": "mlp_out",
        "declared_l0": None, "location": "dir:/x", "revision": None, "sha256": None, "findings": (),
    }  # fmt: skip
    return InstalledRow(**given | facts)  # type: ignore[arg-type]


def test_a_row_has_the_promised_fields_and_is_plain_json() -> None:
    assert tuple(field.name for field in fields(SourceRow)) == FIELDS
    for row in json.loads(json.dumps(source_rows("gemma-3-270m"))):
        assert tuple(row) == FIELDS


def test_a_row_says_what_everybody_else_calls_the_source() -> None:
    rows = {row["source"]: row for row in source_rows("gemma-3-1b", {"13-gemmascope-2-res-16k"})}
    assert rows["13-gemmascope-2-res-16k"] == {
        "source": "13-gemmascope-2-res-16k",
        "site": "resid_post",
        "kind": "sae",
        "layer": 13,
        "width": 16_384,
        "declared_l0": 60,
        "hf_repo": "google/gemma-scope-2-1b-pt",
        "hf_folder": "resid_post/layer_13_width_16k_l0_medium",
        "neuronpedia": "gemma-3-1b/13-gemmascope-2-res-16k",
        "saelens": "gemma-scope-2-1b-pt-res/layer_13_width_16k_l0_medium",
        "status": "confirmed",
        "installed": True,
    }
    deep = rows["13-gemmascope-2-transcoder-65k-l0-big-affine"]
    assert deep["saelens"] == "gemma-scope-2-1b-pt-transcoders/transcoder/layer_13_width_65k_l0_big_affine"
    assert (deep["site"], deep["kind"], deep["neuronpedia"], deep["installed"]) == ("mlp_in", "transcoder", None, False)
    clt = rows["25-gemmascope-2-clt-262k-l0-big"]
    assert (clt["hf_folder"], clt["layer"], clt["width"], clt["saelens"]) == ("clt/width_262k_l0_big", 25, 10_080, None)


def test_every_name_in_every_row_leads_back_to_its_source() -> None:
    for model in MODELS:
        for row in source_rows(model):
            for name in (row["saelens"], row["neuronpedia"], f"{row['hf_repo']}/{row['hf_folder']}"):
                if name is not None:
                    found = parse_any(name)
                    assert found.model == model
                    assert found.source in (row["source"], None)
                    if found.source is None:
                        assert row["kind"] in ("clt", "crosscoder")


def test_what_people_added_stands_behind_the_rest() -> None:
    rows = source_rows(
        "gemma-3-1b", {"3-mine", "13-gemmascope-2-res-16k"}, own=[own("3-mine"), own("13-gemmascope-2-res-16k")]
    )
    assert rows[-1]["source"] == "3-mine"
    assert (rows[-1]["site"], rows[-1]["status"], rows[-1]["installed"]) == ("mlp_out", "confirmed", True)
    assert [row["source"] for row in rows if row["installed"]] == ["13-gemmascope-2-res-16k", "3-mine"]


def test_a_gap_that_is_installed_is_no_gap() -> None:
    gap = "9-gemmascope-2-transcoder-16k-l0-small"
    before, after = (
        {row["source"]: row["status"] for row in source_rows("gemma-3-270m", installed)}[gap]
        for installed in ((), {gap})
    )
    assert (before, after) == ("absent", "confirmed")


def test_a_listing_of_the_hub_is_believed() -> None:
    listing = merged("gemma-3-270m", ["resid_post/layer_5_width_16k_l0_small/params.safetensors"])
    rows = source_rows("gemma-3-270m", listing=listing)
    assert [row["source"] for row in rows if row["status"] == "confirmed"] == ["5-gemmascope-2-res-16k-l0-small"]
