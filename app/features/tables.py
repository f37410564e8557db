"""A feature's examples as a table: one row each, the strongest band first, as its page shows them."""

import msgspec

from app.features.view import FeatureView
from app.web.tables import Table

BAND = {"band": "int32", "low": "float64", "high": "float64"}
"""Number and limits of the interval of activation, of which 0 holds the strongest."""
EXAMPLE = {"passage": "int64", "peak": "float64", "position": "int32", "fires_on": "int32", "times": "int32",
           "first": "int32", "length": "int32", "total": "int32", "text": "string"}  # fmt: skip


def examples(view: FeatureView, described: str) -> Table:
    return Table(
        name=f"{view.model}-{view.source}-{view.index}-examples",
        described=described,
        columns=BAND | EXAMPLE,
        rows=[
            [*(getattr(band, name) for name in BAND), *(getattr(one, name) for name in EXAMPLE)]
            for band in view.bands
            for one in band.examples
        ],
        about={
            "model": view.model,
            "source": view.source,
            "index": str(view.index),
            "origin": msgspec.json.encode(view.origin),
            "cite": view.cite,
        },
    )
