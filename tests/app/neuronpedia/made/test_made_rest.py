"""Vectors, the catalogue, the latent decoder and what is not here, by the web API; and that nothing is ever a 500."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.neuronpedia.made.absent import BY_SENTENCE
from inference.engine import protocol as p
from tests.app.shelves.conftest import D_MODEL, HOSTILE, MODEL, SOURCE, SOURCES, VECTORS, House, decoder, site_values

DIRECTION = np.random.default_rng(5).normal(size=D_MODEL).astype(np.float32)
NEW = {
    "modelId": MODEL, "layerNumber": 12, "hookType": "hook_resid_post", "vector": [float(one) for one in DIRECTION],
    "vectorLabel": HOSTILE,
}  # fmt: skip


async def test_a_vector_is_told_field_by_field(house: House) -> None:
    told = await house.api("vector/new", NEW)
    made = told["vector"]
    assert set(told) == {"message", "url", "vector"}
    assert set(made) == {
        "modelId", "source", "index", "label", "createdAt", "defaultSteerStrength", "hookName", "values",
    }  # fmt: skip
    assert told["url"] == f"http://localhost/{MODEL}/vectors/{made['index']}"
    assert (made["source"], made["label"], made["defaultSteerStrength"]) == (VECTORS, HOSTILE, 10)
    assert made["hookName"] == "blocks.12.hook_resid_post"
    assert np.array_equal(np.array(made["values"], np.float32), DIRECTION)
    names = {"modelId": MODEL, "source": VECTORS, "index": made["index"]}
    got = (await house.api("vector/get", names))["vector"]
    assert got == {
        "modelId": MODEL, "layer": VECTORS, "index": made["index"], "vectorLabel": HOSTILE,
        "hookName": made["hookName"], "vector": made["values"], "vectorDefaultSteerStrength": 10,
    }  # fmt: skip
    assert await house.api("vector/list-owned") == {"vectors": [got]}
    await house.api("vector/get", {**names, "source": "11-vectors-resid-post"}, status=404)
    # It goes into lists and says there that it is gone once it is.
    listed = await house.api("list/new-with-features", {"name": "l", "features": [{**names, "layer": VECTORS}]})
    (one,) = (await house.api("list/get", {"listId": listed["id"]}))["neurons"]
    assert (one["neuron"]["hasVector"], one["neuron"]["vectorLabel"]) == (True, HOSTILE)
    assert (await house.api("vector/delete", names))["message"]
    (one,) = (await house.api("list/get", {"listId": listed["id"]}))["neurons"]
    assert (one["index"], one["neuron"]) == (made["index"], None)


async def test_a_features_direction_is_its_decoder_row(house: House) -> None:
    got = (await house.api("vector/get", {"modelId": MODEL, "source": SOURCE, "index": "3"}))["vector"]
    rows = decoder(p.Source(id=SOURCE, location="", layer=12))
    assert np.array_equal(np.array(got["vector"], np.float32), rows[3])
    assert (got["hookName"], got["vectorLabel"]) == ("blocks.12.hook_resid_post", None)


async def test_a_vectors_page_tries_it_on_a_text(house: House) -> None:
    told = await house.api("vector/new", NEW)
    here = f"/{MODEL}/vectors/{told['vector']['index']}"
    for path in (here, f"/{MODEL}/vectors"):
        answer = await house.client.get(path)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
    moved = await house.client.get(f"/{MODEL}/{VECTORS}/{told['vector']['index']}")
    assert (moved.status_code, moved.headers["location"]) == (308, here)
    tried = await house.client.post(here, data={"text": "a cat <b> sat"})
    assert tried.status_code == 200
    tokens = house.engine._tokens(p.Prompt(text="a cat <b> sat"))
    values = (site_values(tokens, "resid_post.12").astype(np.float64) @ DIRECTION)[1:]
    for value in values[values > 0]:
        assert f"{value:.3g}" in tried.text
    near = await house.client.post(here, data={"do": "near"})
    rows = decoder(p.Source(id=SOURCE, location="", layer=12))
    best = int(np.argmax(rows @ DIRECTION))
    assert f"/{MODEL}/{SOURCE}/{best}" in near.text
    stored = (await house.client.get(f"{here}.json")).json()
    assert stored["norm"] == pytest.approx(float(np.linalg.norm(DIRECTION)))
    assert (await house.client.post(here, data={"text": " "})).status_code == 400
    fields = {"title": "other", "description": "d", "strength": "3"}
    assert (await house.client.post(f"{here}/change", data=fields)).status_code == 303
    assert (await house.client.get(f"{here}.json")).json()["title"] == "other"
    made = await house.client.post(
        f"/{MODEL}/vectors", data={"title": "t", "point": "mlp_out", "layer": "3", "values": str([1.0] * D_MODEL)}
    )
    assert made.status_code == 303
    assert (await house.client.post(f"{here}/delete")).status_code == 303
    assert (await house.client.get(here)).status_code == 404


async def test_vectors_belong_to_who_made_them(house: House) -> None:
    ada, bob = await house.key("ada", "write", "compute"), await house.key("bob", "write")
    made = (await house.api("vector/new", NEW, client=ada))["vector"]
    names = {"modelId": MODEL, "source": VECTORS, "index": made["index"]}
    assert (await house.api("vector/get", names, client=bob))["vector"]["vector"] == made["values"]
    assert await house.api("vector/list-owned", client=bob) == {"vectors": []}
    await house.api("vector/delete", names, status=403, client=bob)
    async with house.database.session() as session:
        await session.execute(text("update own_vector set visibility = 'private'"))
    await house.api("vector/get", names, status=404, client=bob)
    assert len((await house.api("vector/list-owned", client=ada))["vectors"]) == 1


async def test_what_is_installed_is_told(house: House) -> None:
    (listed,) = await house.api("model/list")
    whole = await house.api("model/get", {"id": MODEL})
    assert {name: whole[name] for name in listed} == listed
    assert (listed["id"], listed["layers"], listed["dimension"], listed["instruct"]) == (MODEL, 18, 640, False)
    assert listed["displayName"] == "Gemma-3-270M"
    sources = [source["id"] for one in whole["sourceSets"] for source in one["sources"]]
    assert sorted(sources) == sorted(name for name, _, _ in SOURCES)
    one = (await house.client.get(f"/api/source-set/{MODEL}/starter-res-64/")).json()
    assert one == next(found for found in whole["sourceSets"] if found["name"] == "starter-res-64")
    assert [source["id"] for source in one["sources"]] == ["9-starter-res-64", "12-starter-res-64"]
    everything = await house.api("global")
    assert everything["models"] == [whole]
    assert {kind["name"] for kind in everything["explanationTypes"]} == {"token-pattern", "np_max-act-logits"}
    missing = await house.api("model/get", {"id": "gpt2-small"}, status=404)
    assert MODEL in missing["message"]
    assert (await house.client.get(f"/api/source-set/{MODEL}/starter-rse-64")).json()["message"].endswith("64?")


async def test_a_latent_of_a_dictionary_on_the_hub(house: House) -> None:
    where = "resid_post/layer_12_width_64_l0_medium"
    async with house.database.session() as session:
        await session.execute(
            text("update dictionary set location = :place where location like :old"),
            {"place": f"hf:google/gemma-scope-2-270m-pt/{where}@{'a' * 40}", "old": f"%{SOURCE}"},
        )
    query: dict[str, Any] = {"repo": "google/gemma-scope-2-270m-pt", "path": f"{where}/params.safetensors", "index": 3}
    told = (await house.client.get("/api/saelens/latent-decoder", params=query)).json()
    assert set(told) == {"repo", "path", "index", "dtype", "num_latents", "d_model", "values"}
    rows = decoder(p.Source(id=SOURCE, location="", layer=12))
    assert np.array_equal(np.array(told["values"], np.float32), rows[3])
    assert (told["num_latents"], told["d_model"]) == (64, D_MODEL)
    for wrong, status in (({"index": 64}, 404), ({"path": "x"}, 404), ({"index": -1}, 422), ({"index": "x"}, 422)):
        answer = await house.client.get("/api/saelens/latent-decoder", params={**query, **wrong})
        assert answer.status_code == status
        assert set(answer.json()) == {"error", "message"}


async def test_what_is_not_here_says_so(house: House) -> None:
    for sentence, paths in BY_SENTENCE.items():
        for path in paths.split():
            told = await house.api(path, {"anything": 1}, status=501)
            assert told == {"error": "not_implemented", "message": sentence}
            assert (await house.client.post(f"/api/{path}/")).status_code == 501
    assert (await house.client.get(f"/api/graph/{MODEL}/some-slug")).status_code == 501
    unknown = await house.client.post("/api/nothing/of-this")
    assert unknown.status_code in (400, 404)
    assert set(unknown.json()) == {"error", "message"}


TEXTS = st.one_of(st.text(max_size=40), st.sampled_from(["", "\x00", "\ud800", HOSTILE, MODEL, SOURCE, VECTORS, "0"]))
NUMBERS = st.one_of(
    st.integers(min_value=-(2**70), max_value=2**70), st.floats(), st.sampled_from([-1, 63, 64, 2**31, 10**9])
)
ANY = st.one_of(TEXTS, NUMBERS, st.none(), st.booleans(), st.lists(NUMBERS, max_size=3))
ROUTES = (
    "list/new", "list/new-with-features", "list/add-features", "list/get", "list/update", "list/remove",
    "list/edit-feature", "list/delete", "bookmark/add", "bookmark/delete", "vector/new", "vector/get", "vector/delete",
    "model/get",
)  # fmt: skip
FIELDS = (
    "modelId", "layer", "source", "index", "name", "description", "testText", "listId", "layerNumber", "hookType",
    "vector", "vectorLabel", "vectorDefaultSteerStrength", "id", "defaultTestText",
)  # fmt: skip


async def test_nothing_that_can_be_sent_is_a_500(house: House) -> None:
    """The examples are drawn first: hypothesis and an event loop do not share a test."""
    list_id = (await house.api("list/new", {"name": "kept"}))["id"]
    bodies: list[tuple[str, Any]] = []
    feature = st.fixed_dictionaries(dict.fromkeys(("modelId", "layer", "index", "description"), ANY))
    right = st.fixed_dictionaries(
        {"modelId": st.just(MODEL), "layer": st.sampled_from([SOURCE, VECTORS]), "index": st.one_of(TEXTS, NUMBERS),
         "source": st.just(SOURCE), "listId": st.just(list_id), "name": TEXTS, "description": TEXTS,
         "layerNumber": st.integers(0, 20), "hookType": st.sampled_from(["hook_resid_pre", "hook_resid_post", "x"]),
         "vector": st.lists(NUMBERS, min_size=1, max_size=3), "vectorLabel": TEXTS, "id": TEXTS}
    )  # fmt: skip

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from([one for one in ROUTES if one != "list/delete"]),
        st.one_of(right, st.dictionaries(st.sampled_from(FIELDS), ANY)),
        st.lists(feature, max_size=2),
    )
    def draw(route: str, body: dict[str, Any], some: list[Any]) -> None:
        bodies.append((route, {**body, "features": some, "featuresToAdd": some}))

    draw()
    for route, body in bodies:
        content = _json(body)
        answer = await house.client.post(f"/api/{route}", content=content, headers={"content-type": "application/json"})
        assert answer.status_code < 500, (route, body, answer.text)
        if answer.status_code >= 400:
            assert {"error", "message"} <= set(answer.json())
    for path in ("/lists/%00", "/lists/x", f"/{MODEL}/vectors/x", "/lists?feature=%F0", f"/{MODEL}/9-vectors-y/z"):
        answer = await house.client.get(path)
        assert 400 <= answer.status_code < 500, path


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()
