"""Which route a request is for, before it gets there.

The gate must know before a body is read or a parameter looked at; so the application's routes are matched here by
their templates, in their order, as its router does.
"""

import re
from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, compile_path
from starlette.types import Scope


class Routes:
    """Of one application, as many as are in now (`app.web.later`)."""

    def __init__(self, app: FastAPI) -> None:
        self.count = len(app.routes)
        self._routes = [
            (compile_path(template)[0], methods, template.replace("/{path_below_mount:path}", "/**"))
            for template, methods in templates(app)
        ]

    def template(self, scope: Scope) -> str | None:
        """Of the first route that takes this path and method; None where the router will find none either."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        for pattern, methods, template in self._routes:
            if (methods is None or method in methods) and re.match(pattern, path):
                return template
        return None


def templates(app: FastAPI) -> Iterator[tuple[str, frozenset[str] | None]]:
    """Every route's template and methods; None for those that take any."""
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        path = str(getattr(context, "path", None) or getattr(route, "path", ""))
        if isinstance(route, Mount):
            yield f"{path}/{{path_below_mount:path}}", None
        else:
            methods = getattr(context, "methods", None) or getattr(route, "methods", None)
            yield path, frozenset(methods) if methods else None
