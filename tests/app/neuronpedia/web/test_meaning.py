"""Answers equal what was loaded, or what the engine computed."""

from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from app.neuronpedia.web import answers
from app.store import tokens, vectors
from inference.engine import protocol as p
from tests.app.neuronpedia.web.conftest import Web, decoder, site, values
from tests.app.neuronpedia.web.snapshots import EARLIER, SET, SOURCE, TEXT, checked
from tests.app.search.conftest import letters
from tests.app.world import DEAD, LABELS, MODEL, VOCABULARY

TEXTS = dict(VOCABULARY)


def expected_examples(web: Web, index: int) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Token ids, dense values and band of a feature's examples, greatest peak first."""
    found = []
    for band in web.world.given[SOURCE][index].bands:
        for one in band.packed:
            ids = web.world.passages[one.passage]
            dense = np.zeros(len(ids), np.float32)
            dense[one.positions] = one.values
            found.append((ids, dense, band.band))
    return sorted(found, key=lambda example: -example[1].max())


def check_examples(told: list[Any], expected: list[tuple[np.ndarray, np.ndarray, int]]) -> None:
    assert len(told) == len(expected)
    for one, (ids, dense, band) in zip(told, expected, strict=True):
        assert one["tokens"] == tokens.pieces(ids.tolist(), TEXTS)
        np.testing.assert_allclose(one["values"], dense, atol=dense.max() / 30_000)
        assert np.float32(one["maxValue"]) == dense.max() == np.float32(one["values"][one["maxValueTokenIndex"]])
        assert (one["binMin"] == -1) is (band == 0) is (one["binContains"] is None)


@pytest.mark.parametrize("index", [0, 5, 6, 42])
async def test_a_feature_is_what_was_loaded(web: Web, index: int) -> None:
    told = await web.get(f"feature/{MODEL}/{SOURCE}/{index}")
    given = web.world.given[SOURCE][index]
    assert np.float32(told["frac_nonzero"]) == np.float32(given.density)
    assert np.float32(told["maxActApprox"]) == np.float32(given.peak)
    assert told["pos_str"] == [TEXTS[id_] for id_ in given.top_logits.tolist()]
    assert told["neg_str"] == [TEXTS[id_] for id_ in given.bottom_logits.tolist()]
    np.testing.assert_array_equal(np.float32(told["pos_values"]), given.top_logit_values)
    assert told["topkCosSimIndices"] == given.neighbours.tolist()
    assert told["freq_hist_data_bar_heights"] == [count for count in given.histogram.tolist() if count]
    assert told["logits_hist_data_bar_heights"] == given.logit_histogram.tolist()
    check_examples(told["activations"], expected_examples(web, index))
    assert told["activations"] == await web.post(
        "activation/get", {"modelId": MODEL, "source": SOURCE, "index": str(index)}
    )
    written = [one["description"] for one in told["explanations"]]
    assert len(written) == (2 if index % 6 == 0 else 1)
    assert (written[0] in LABELS) is (index % 6 == 0)


async def test_a_feature_that_never_fired_is_there_and_empty(web: Web) -> None:
    told = await web.get(f"feature/{MODEL}/{SOURCE}/{DEAD}")
    assert (told["maxActApprox"], told["activations"], told["explanations"]) == (0, [], [])


async def test_many_features_come_in_the_order_asked_for_each_with_its_own_number_of_activations(web: Web) -> None:
    asked: list[dict[str, Any]] = [
        {"modelId": MODEL, "layer": SOURCE, "index": 9, "maxActsToReturn": 2},
        {"modelId": MODEL, "layer": EARLIER, "index": 1, "maxActsToReturn": 10},
        {"modelId": MODEL, "layer": "9-of-nothing", "index": 1},
        {"modelId": MODEL, "layer": SOURCE, "index": 1_000_000},
        {"modelId": MODEL, "layer": SOURCE, "index": "3"},
        {"modelId": MODEL, "layer": SOURCE, "index": 9, "maxActsToReturn": 0},
    ]
    told = await web.post("features", asked)
    names = [(one["layer"], one["index"], len(one["activations"])) for one in told]
    assert names == [(SOURCE, "9", 2), (EARLIER, "1", 10), (SOURCE, "3", 16), (SOURCE, "9", 0)]
    whole = await web.get(f"feature/{MODEL}/{SOURCE}/9")
    assert told[0]["activations"] == whole["activations"][:2]
    assert await web.post("features", []) == []


async def test_pages_of_features_hold_all_that_fire_once(web: Web) -> None:
    found = []
    for offset in (0, 25, 50, 75):
        page = await web.post("features-offset", {"modelId": MODEL, "layer": SOURCE, "offset": offset})
        found += [int(one["index"]) for one in page]
    assert found == list(range(DEAD))


async def test_a_feature_over_texts_is_what_the_engine_computed(web: Web) -> None:
    for index in (7, "7"):
        body = {"feature": {"modelId": MODEL, "layer": SOURCE, "index": index}, "customText": [TEXT, "Paris"]}
        for written, one in zip((TEXT, "Paris"), await web.post("activation/new", body), strict=True):
            found, dense = values(web.engine, written, SOURCE)
            np.testing.assert_array_equal(np.float32(one["values"]), dense[1:, 7])
            assert one["tokens"] == list(found.pieces[1:])
            assert one["maxValueTokenIndex"] == dense[1:, 7].argmax()
            assert np.float32(one["minValue"]) == dense[1:, 7].min()


async def test_bos_is_kept_where_it_is_asked_for_and_its_value_is_none(web: Web) -> None:
    feature = {"modelId": MODEL, "layer": SOURCE, "index": 7}
    told = await web.post("activation/new", {"feature": feature, "customText": TEXT, "ignoreBos": False})
    without = await web.post("activation/new", {"feature": feature, "customText": TEXT, "ignoreBos": True})
    assert told["tokens"] == ["<bos>", *without["tokens"]]
    assert told["values"] == [0, *without["values"]]
    assert told["maxValue"] == without["maxValue"]


async def test_a_search_is_full_although_dense_features_are_left_out(web: Web) -> None:
    body = {"modelId": MODEL, "sourceSet": SET, "text": TEXT, "densityThreshold": 0.02, "numResults": 15}
    told = await web.post("search-all", body)
    scores = []
    for source in (EARLIER, SOURCE):
        dense = values(web.engine, TEXT, source)[1]
        dense[0] = 0
        for index, peak in enumerate(dense.max(0).tolist()):
            if peak > 0 and web.world.given[source][index].density <= 0.02:
                scores.append((-peak, source, index))
    scores.sort(key=lambda one: (one[0], (EARLIER, SOURCE).index(one[1]), one[2]))
    assert [(one["layer"], int(one["index"])) for one in told["result"]] == [one[1:] for one in scores[:15]]
    assert len(told["result"]) == 15
    for one in told["result"]:
        assert (one["neuron"]["layer"], one["neuron"]["index"]) == (one["layer"], one["index"])
        assert len(one["neuron"]["activations"]) <= 1


async def test_the_strongest_at_each_token_are_the_engines(web: Web) -> None:
    body = {"modelId": MODEL, "source": SOURCE, "text": TEXT, "numResults": 5, "densityThreshold": -1}
    told = await web.post("search-topk-by-token", body)
    found, dense = values(web.engine, TEXT, SOURCE)
    assert [one["position"] for one in told["results"]] == list(range(1, len(found.ids)))
    for one in told["results"]:
        row = dense[one["position"]]
        order = [index for index in np.argsort(-row, kind="stable")[:5].tolist() if row[index] > 0]
        assert [top["featureIndex"] for top in one["topFeatures"]] == order
        np.testing.assert_array_equal(np.float32([top["activationValue"] for top in one["topFeatures"]]), row[order])
        assert all(top["feature"]["index"] == str(top["featureIndex"]) for top in one["topFeatures"])
        assert all(len(top["feature"]["explanations"]) <= 1 for top in one["topFeatures"])


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("search", {"modelId": MODEL, "layers": [EARLIER, SOURCE]}),
        ("search-model", {"modelId": MODEL}),
        ("search-release", {"releaseName": "starter"}),
        ("search-all", {}),
    ],
)
async def test_pages_of_explanations_are_full_and_hold_the_nearest(web: Web, path: str, where: dict[str, Any]) -> None:
    query = "rivers of France"
    found: list[Any] = []
    offset: int | None = 0
    while offset is not None:
        page = await web.post(f"explanation/{path}", {**where, "query": query, "offset": offset})
        assert page["resultsCount"] == len(page["results"])
        assert page["hasMore"] is (page["nextOffset"] is not None)
        assert page["resultsCount"] == 20 or not page["hasMore"]
        found += page["results"]
        offset = page["nextOffset"]
    async with web.world.database.session() as session:
        asked = text("select name, index, text from label join source on source.id = source_id")
        rows = (await session.execute(asked)).all()
    wanted = {(row.name, row.index, row.text) for row in rows if row.name in where.get("layers", [row.name])}
    assert {(one["layer"], int(one["index"]), one["description"]) for one in found} == wanted
    assert len(found) == len(wanted)
    cosines = [one["cosine_similarity"] for one in found]
    assert cosines == sorted(cosines, reverse=True)
    expected = sorted((float(letters(one[2]) @ letters(query)) for one in wanted), reverse=True)
    np.testing.assert_allclose(cosines, expected, atol=2e-3)
    assert all(len(one["neuron"]["activations"]) <= 3 for one in found)


async def test_nearest_directions_are_those_of_the_decoders(web: Web) -> None:
    body = {"modelId": MODEL, "source": SOURCE, "index": "3", "targetModelId": MODEL, "targetSourceId": EARLIER}
    told = await web.post("cossim", body)
    own, others = (
        decoder(p.Source(id=name, location="", layer=int(name.partition("-")[0]))) for name in (SOURCE, EARLIER)
    )
    cosines = others @ own[3]
    order = np.argsort(-cosines)[:10]
    near = told["topkDecoderCossimFeatures"]
    assert [one["feature"]["index"] for one in near] == order.tolist()
    np.testing.assert_allclose([one["cosineSimilarity"] for one in near], cosines[order], rtol=1e-5)


async def test_lists_that_hold_a_feature_are_named(web: Web) -> None:
    async with web.world.database.session() as session:
        await session.execute(text("delete from shelf"))
        shelf = (
            await session.execute(
                text("insert into shelf (public_id, title, visibility) values ('abc', 'Mine', 'unlisted') returning id")
            )
        ).scalar_one()
        await session.execute(
            text(
                "insert into shelf_item (shelf_id, number, source_id, index, note) "
                "select :shelf, 1, id, 11, 'why' from source where name = :name"
            ),
            {"shelf": shelf, "name": SOURCE},
        )
    try:
        (one,) = (await web.get(f"feature/{MODEL}/{SOURCE}/11"))["lists"]
        assert (one["listId"], one["description"], one["list"]["name"]) == ("abc", "why", "Mine")
        assert (await web.get(f"feature/{MODEL}/{SOURCE}/12"))["lists"] == []
    finally:
        async with web.world.database.session() as session:
            await session.execute(text("delete from shelf"))


async def test_a_vector_of_somebodys_own_is_read_and_tried_like_a_feature(web: Web) -> None:
    direction = np.linspace(-1, 1, 640)
    async with web.world.database.session() as session:
        own = await vectors.make(
            session, None, model=MODEL, site="resid_post.12", title="mine", direction=direction.tolist()
        )
    try:
        told = await web.get(f"feature/{MODEL}/{own.source}/{own.public_id}")
        checked(told, answers.FullNeuron)
        assert (told["hasVector"], told["vectorLabel"], told["hookName"]) == (True, "mine", "blocks.12.hook_resid_post")
        np.testing.assert_allclose(told["vector"], direction, atol=1e-6)
        feature = {"modelId": MODEL, "source": own.source, "index": own.public_id}
        one = await web.post("activation/new", {"feature": feature, "customText": TEXT})
        expected = site(len(one["tokens"]) + 1) @ direction
        np.testing.assert_allclose(one["values"], expected[1:], rtol=1e-4, atol=1e-4)
        await web.post(
            "activation/new", {"feature": {**feature, "index": "nothing-here"}, "customText": "a"}, status=404
        )
    finally:
        async with web.world.database.session() as session:
            await vectors.remove(session, None, own.public_id)
