"""The small house with an engine that answers all that the APIs ask."""

from tests.app.neuronpedia.web.conftest import Web, full_template, web

__all__ = ["Web", "full_template", "web"]
