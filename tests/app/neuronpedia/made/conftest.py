"""The house of tests/app/shelves, asked by its web API."""

from tests.app.shelves.conftest import house, house_template

__all__ = ["house", "house_template"]
