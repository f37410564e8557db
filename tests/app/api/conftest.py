"""The small house with an engine that answers all that the APIs ask."""

from tests.app.neuronpedia.web.conftest import Web, web, web_template

__all__ = ["Web", "web", "web_template"]
