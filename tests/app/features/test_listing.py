"""The features of a source as a list, compared with the same list made by sorting in Python."""

import csv
import io
import itertools
from typing import Any
from urllib.parse import parse_qsl

import pyarrow.parquet
import pytest

from app.features.listing import Filters, parse
from app.store.features import NEVER_FIRED
from inference.errors import BadInput
from tests.app.world import DEAD, MODEL, WIDTH, World
from tests.pages import HTMX

SOURCE = "9-starter-res-64"
PAGE = f"/{MODEL}/{SOURCE}"


async def listed(world: World, query: str = "") -> dict[str, Any]:
    async with world.client() as client:
        answer = await client.get(f"{PAGE}.json?{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def all_pages(world: World, query: str) -> list[int]:
    """Indexes of every page, one after the other."""
    found: list[int] = []
    while True:
        page = await listed(world, query)
        found += [row["index"] for row in page["rows"]]
        if page["next"] is None:
            return found
        query = page["next"]


async def test_pages_hold_every_feature_once_in_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.features.source.ROWS", 23)
    rows = world.given[SOURCE]
    for sort, descending in itertools.product(("index", "density", "peak", "mean", "score"), (True, False)):

        def key(index: int, sort: str = sort, sign: int = -1 if descending else 1) -> tuple[float, int]:
            if sort == "index":
                return sign * index, 0
            value = getattr(rows[index], sort)
            return sign * (-1.0 if value is None else value), index

        query = f"sort={sort}&order={'desc' if descending else 'asc'}"
        assert await all_pages(world, query) == sorted(range(WIDTH), key=key), query


async def test_equal_values_are_neither_shown_twice_nor_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.features.source.ROWS", 3)
    dense = [row.index for row in world.given[SOURCE] if row.density == 0.3]
    assert await all_pages(world, "sort=density&kind=dense") == dense


async def test_filters_leave_what_fits(world: World) -> None:
    rows = world.given[SOURCE]
    checks = {
        "kind=dead": [row.index for row in rows if row.flags & NEVER_FIRED],
        "kind=alive": [row.index for row in rows if not row.flags & NEVER_FIRED][:50],
        "examples=1": [row.index for row in rows if row.bands][:50],
        "density_from=0.5&density_to=1": [row.index for row in rows if 0.005 <= row.density <= 0.01],
        "peak_from=30": [row.index for row in rows if row.peak >= 30],
        "q=medical": [0],
        "q=profession": [0],
        "q=no+such+label": [],
    }
    for query, wanted in checks.items():
        page = await listed(world, query)
        assert [row["index"] for row in page["rows"]] == wanted, query
        if len(wanted) < 50:
            assert page["total"] == len(wanted), query


async def test_percent_signs_in_a_search_stand_for_themselves(world: World) -> None:
    assert (await listed(world, "q=%25"))["rows"] == []
    assert (await listed(world, "q=_ctors"))["rows"] == []


@pytest.mark.parametrize(
    "query",
    [
        "sort=name", "kind=odd", "order=up", "after=1", "after=nan,3", "density_from=much", "peak_from=inf",
        "density_from=-5", "density_to=101", "density_from=50&density_to=1", "peak_from=2&peak_to=1",
        "q=" + "x" * 201,
    ],
)  # fmt: skip
def test_an_address_edited_by_hand_gets_a_sentence(query: str) -> None:
    with pytest.raises(BadInput, match=r"\.$"):
        parse(dict(parse_qsl(query)))


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(q="doctor", kind="alive", examples=True, sort="peak", descending=True, after=(0.1, 3)),
        Filters(density_from=0.5, peak_to=12.0, sort="density", descending=False),
        Filters(sort="index", descending=True),
    ],
)
def test_a_list_is_read_back_from_its_own_address(filters: Filters) -> None:
    assert parse(filters.query()) == filters


async def test_tables_hold_all_that_fits_with_where_it_comes_from(world: World) -> None:
    wanted = [row.index for row in world.given[SOURCE] if row.peak >= 20]
    async with world.client() as client:
        as_csv = await client.get(f"{PAGE}.csv?peak_from=20")
        as_parquet = await client.get(f"{PAGE}.parquet?peak_from=20")
    lines = list(csv.DictReader(io.StringIO(as_csv.text)))
    table = pyarrow.parquet.read_table(io.BytesIO(as_parquet.content))
    assert [int(line["index"]) for line in lines] == wanted == table["index"].to_pylist()
    assert [line["label"] for line in lines] == table["label"].to_pylist()
    assert table.schema.metadata[b"source"] == SOURCE.encode()
    assert b"checkpoint" in table.schema.metadata[b"origin"]


async def test_htmx_gets_the_list_alone(world: World) -> None:
    async with world.client() as client:
        answer = await client.get(f"{PAGE}?kind=dead", headers=HTMX)
    assert "<html" not in answer.text
    assert f"{PAGE}/{DEAD}" in answer.text
    assert "1 feature fits" in answer.text


async def test_a_name_that_is_nearly_right_leads_to_the_right_one(world: World) -> None:
    async with world.client() as client:
        answer = await client.get(f"/{MODEL}/9-starter-res-65")
        other = await client.get("/gemma-3-1b/9-starter-res-64")
    assert answer.status_code == other.status_code == 404
    assert SOURCE in answer.text
    assert MODEL in other.text
