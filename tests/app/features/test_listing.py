"""The features of a source as a list, compared with the same list made by sorting in Python."""

import csv
import io
from typing import Any

import pyarrow.parquet
import pytest

from app.store.features import NEVER_FIRED
from tests.app.world import DEAD, MODEL, WIDTH, World
from tests.pages import HTMX, Parsed

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


@pytest.mark.parametrize("sort", ["index", "density", "peak", "mean", "score"])
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_hold_every_feature_once_in_order(
    world: World, sort: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.features.source.ROWS", 7)
    rows = world.given[SOURCE]

    def key(index: int) -> tuple[float, int]:
        if sort == "index":
            return (-index if order == "desc" else index), 0
        value = getattr(rows[index], sort)
        value = -1.0 if value is None else value
        return (-value if order == "desc" else value), index

    assert await all_pages(world, f"sort={sort}&order={order}") == sorted(range(WIDTH), key=key)


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
        "sort=name",
        "kind=odd",
        "order=up",
        "after=1",
        "after=nan,3",
        "density_from=much",
        "peak_from=inf",
        "q=" + "x" * 201,
    ],
)
async def test_an_address_edited_by_hand_gets_a_sentence(world: World, query: str) -> None:
    async with world.client() as client:
        answer = await client.get(f"{PAGE}.json?{query}")
        page = await client.get(f"{PAGE}?{query}")
    assert answer.status_code == page.status_code == 400
    assert answer.json()["message"] in Parsed(page.text).text


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
    assert f"{PAGE}/{DEAD}" in answer.text and "1 feature fits" in answer.text


async def test_a_name_that_is_nearly_right_leads_to_the_right_one(world: World) -> None:
    async with world.client() as client:
        answer = await client.get(f"/{MODEL}/9-starter-res-65")
        other = await client.get("/gemma-3-1b/9-starter-res-64")
    assert answer.status_code == other.status_code == 404
    assert SOURCE in answer.text
    assert MODEL in other.text
