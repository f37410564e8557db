"""A table as a file: CSV, or Parquet with what the rows are of in its metadata."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response


@dataclass(frozen=True, kw_only=True)
class Table:
    name: str
    """Of its file, without the ending."""
    described: str
    """The address of the same as JSON."""
    columns: Mapping[str, str]
    """Their names with their types, as pyarrow calls them."""
    rows: Sequence[Sequence[Any]]
    about: Mapping[str, str | bytes] = field(default_factory=dict)

    def csv(self) -> Response:
        made = io.StringIO()
        writer = csv.writer(made)
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return self._file(made.getvalue(), "csv", "text/csv; charset=utf-8")

    def parquet(self) -> Response:
        import pyarrow
        import pyarrow.parquet

        fields = [(name, getattr(pyarrow, kind)()) for name, kind in self.columns.items()]
        schema = pyarrow.schema(fields, metadata=dict(self.about))
        columns = {name: [row[place] for row in self.rows] for place, name in enumerate(self.columns)}
        made = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(columns, schema=schema), made, compression="zstd")
        return self._file(made.getvalue(), "parquet", "application/vnd.apache.parquet")

    def _file(self, content: str | bytes, ending: str, kind: str) -> Response:
        headers = {
            "Content-Disposition": f'attachment; filename="{self.name}.{ending}"',
            "Link": f'<{self.described}>; rel="describedby"',
            "Cache-Control": "no-cache",
        }
        return Response(content, media_type=kind, headers=headers)
