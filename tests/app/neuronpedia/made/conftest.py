"""The house of tests/app/shelves, asked by its web API."""

from tests.app.shelves.conftest import house

__all__ = ["house"]
