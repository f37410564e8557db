"""`neuronpedia` from PyPI, unmodified, over HTTP: what its users make (vectors, lists), and what is installed."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from requests.exceptions import HTTPError

from tests.clients.conftest import FOLDERS, MODEL, Stock
from tests.inference.engine.reference import Reference

TEXT = "the user of an apple"
RESID, RESID_AFTER = FOLDERS[0], FOLDERS[1]


@pytest.fixture(scope="module")
def client(stock: Stock) -> Any:
    """The package's classes, imported once the server is where they look for one."""
    from neuronpedia.np_list import NPList, NPListItem
    from neuronpedia.np_model import Model
    from neuronpedia.np_source_set import SourceSet
    from neuronpedia.np_vector import NPVector

    return SimpleNamespace(NPList=NPList, NPListItem=NPListItem, Model=Model, SourceSet=SourceSet, NPVector=NPVector)


def direction(stock: Stock, seed: int = 0) -> list[float]:
    width = json.loads((stock.model_folder / "config.json").read_text())["hidden_size"]
    return [float(value) for value in np.random.default_rng(seed).normal(size=width).astype(np.float32)]


def test_vectors_are_made_found_listed_and_deleted(stock: Stock, client: Any) -> None:
    values = direction(stock)
    made = client.NPVector.new("größer 猫 <b>", MODEL, 2, "hook_resid_post", values, default_steer_strength=12.5)
    assert np.array_equal(np.array(made.values, np.float32), np.array(values, np.float32))
    assert (made.label, made.hook_name, made.default_steer_strength) == (
        "größer 猫 <b>", "blocks.2.hook_resid_post", 12.5,
    )  # fmt: skip
    assert made.url == f"http://localhost:3000/{MODEL}/vectors/{made.index}"
    assert client.NPVector.get(made.model_id, made.source, made.index) == made
    found = made.compute_activation_for_text(TEXT)
    expected = Reference(stock.model_folder).sites(stock.ids(TEXT))["resid_post.2"] @ np.array(values)
    np.testing.assert_allclose(found.values, expected[1:], rtol=1e-3, atol=1e-3)
    assert "".join(found.tokens) == TEXT
    # What a layer reads is what the one before it left: the same place, under that name.
    before = client.NPVector.new("before", MODEL, 2, "hook_resid_pre", direction(stock, 1), default_steer_strength=None)
    assert (before.hook_name, before.default_steer_strength) == ("blocks.1.hook_resid_post", None)
    assert client.NPVector.get_owned()[:2] == [before, made]
    before.delete()
    assert before.index not in [vector.index for vector in client.NPVector.get_owned()]
    with pytest.raises(HTTPError, match="404"):
        client.NPVector.get(before.model_id, before.source, before.index)


def test_a_vector_of_another_width_or_before_the_first_layer_is_refused(stock: Stock, client: Any) -> None:
    with pytest.raises(HTTPError, match="numbers, and the vector has 3"):
        client.NPVector.new("x", MODEL, 1, "hook_resid_post", [1.0, 2.0, 3.0])
    with pytest.raises(HTTPError, match="400"):
        client.NPVector.new("x", MODEL, 0, "hook_resid_pre", direction(stock))


def test_lists_are_made_filled_and_read(stock: Stock, client: Any) -> None:
    source = stock.sources[RESID]
    made = client.NPList.new("שלום <script>", "why\nnot")
    items = [
        client.NPListItem(MODEL, source, "3", "first"),
        client.NPListItem(MODEL, stock.sources[RESID_AFTER], "5", ""),
    ]
    made.add_items(items)
    found = client.NPList.get(made.id)
    assert (found.name, found.description) == ("שלום <script>", "why\nnot")
    assert [(one.model_id, one.source, one.index) for one in found.items] == [
        (one.model_id, one.source, one.index) for one in items
    ]
    assert made.id in [one.id for one in client.NPList.get_owned()]
    with pytest.raises(HTTPError, match="in the list already"):
        made.add_items(items[:1])
    with pytest.raises(HTTPError, match="404"):
        made.add_items([client.NPListItem(MODEL, "9-nowhere", "1")])
    with pytest.raises(HTTPError, match="404"):
        client.NPList.get("no-such-list")


def test_a_source_set_names_its_sources(stock: Stock, client: Any) -> None:
    source = stock.sources[RESID]
    name = source.partition("-")[2]
    found = client.SourceSet.get(MODEL, name)
    assert (found.name, found.model_id) == (name, MODEL)
    assert found.get_source_for_layer_number(int(source.partition("-")[0])).id == source
    with pytest.raises(HTTPError, match="404"):
        client.SourceSet.get(MODEL, "no-such-set")


def test_models_and_source_sets_are_not_made_by_the_api(stock: Stock, client: Any) -> None:
    for make in (lambda: client.Model.new("mine", 3), lambda: client.SourceSet.new("mine", MODEL)):
        with pytest.raises(HTTPError, match="501"):
            make()
