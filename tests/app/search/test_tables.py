"""A search as a table: the same hits as its pages, all of them, with why each was found."""

import csv
import io

import msgspec
import pyarrow.parquet
import pytest

from tests.app.search.conftest import Searched, features
from tests.app.world import MODEL, SOURCES

QUERIES = ({"q": "doctors"}, {"q": "Paris", "source": SOURCES[1][0]}, {"q": f"{SOURCES[0][0]}/7"}, {"q": "qqqqqqq"})


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query["q"])
async def test_tables_hold_the_hits_of_all_pages_in_their_order(searched: Searched, query: dict[str, str]) -> None:
    whole = await searched.whole(**query)
    answer = await searched.client.get("/search.csv", params={**query, "page": 2})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["source"], int(row["index"])) for row in rows] == features(whole)
    assert [int(row["rank"]) for row in rows] == list(range(1, whole["found"] + 1))
    assert all(row["model"] == MODEL and row["why"] and row["query"] == query["q"] for row in rows)
    answer = await searched.client.get("/search.parquet", params=query)
    table = pyarrow.parquet.read_table(io.BytesIO(answer.content))
    assert list(zip(table["source"].to_pylist(), table["index"].to_pylist(), strict=True)) == features(whole)
    assert table["label"].to_pylist() == [hit["label"] for hit in whole["hits"]]
    assert table["why"].to_pylist() == [
        " ".join(dict.fromkeys(reason["kind"] for reason in hit["reasons"])) for hit in whole["hits"]
    ]
    about = table.schema.metadata
    assert about[b"query"].decode() == query["q"]
    assert [one["way"] for one in msgspec.json.decode(about[b"tried"])] == [one["way"] for one in whole["tried"]]


async def test_the_page_leads_to_its_tables_and_what_cannot_be_searched_has_none(searched: Searched) -> None:
    page = await searched.page(q="doctors", source=SOURCES[1][0])
    assert f'href="/search.csv?q=doctors&amp;source={SOURCES[1][0]}" download' in page.text
    assert "search.csv" not in (await searched.page(q="?!…")).text
    refused = await searched.client.get("/search.csv", params={"q": "doctors", "source": "nothing"})
    assert refused.status_code == 404
