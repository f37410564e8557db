"""Addresses of our own pages: below the base path, quoted, and without empty parameters."""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, urlencode

from starlette.types import Scope


def address(
    scope: Scope,
    *segments: str | int,
    suffix: str = "",
    query: Mapping[str, str | int | None] | None = None,
    **more: str | int | None,
) -> str:
    """`address(scope, "gemma-3-270m", "live", text="hi")` -> `/base/gemma-3-270m/live?text=hi`."""
    path = "/".join([_quoted(str(segment)) for segment in segments])
    kept = {name: value for name, value in {**(query or {}), **more}.items() if value is not None and value != ""}
    return f"{scope.get('root_path', '')}/{path}{suffix}" + (f"?{urlencode(kept)}" if kept else "")


@lru_cache(maxsize=8192)
def _quoted(segment: str) -> str:
    return quote(segment, safe="")
