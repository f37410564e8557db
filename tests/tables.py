"""A table that a server gives as CSV and as Parquet, read by their own programs."""

import csv
import io
from typing import Any

import httpx2
import pyarrow
import pyarrow.parquet


async def both(client: httpx2.AsyncClient, path: str) -> tuple[list[dict[str, str]], Any]:
    """The rows of `{path}.csv`, and `{path}.parquet` as a table."""
    as_csv = await client.get(f"{path}.csv")
    assert as_csv.status_code == 200, as_csv.text
    assert as_csv.headers["content-type"].startswith("text/csv")
    as_parquet = await client.get(f"{path}.parquet")
    assert as_parquet.status_code == 200, as_parquet.text
    assert as_parquet.headers["content-type"] == "application/vnd.apache.parquet"
    rows = list(csv.DictReader(io.StringIO(as_csv.text, newline="")))
    table = pyarrow.parquet.read_table(io.BytesIO(as_parquet.content))
    assert [list(row) for row in rows] == [table.column_names] * table.num_rows
    return rows, table
