"""The fixtures of the rooms whose long tests these are."""

from tests.app.conftest import _no_writing_through, database_template, database_url, homes
from tests.app.harvests.conftest import _impatient, _without_vectors, harvested, place, undisturbed

__all__ = [
    "_impatient",
    "_no_writing_through",
    "_without_vectors",
    "database_template",
    "database_url",
    "harvested",
    "homes",
    "place",
    "undisturbed",
]
