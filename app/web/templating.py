"""Templates: a page and its fragments are blocks of one file.

A request of htmx for part of a page gets the named blocks alone; every other request gets the whole page. Both share an
address, so answers say that they vary by `HX-Request`. Undefined names are errors, and everything is escaped.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2_fragments import render_blocks
from starlette.requests import Request
from starlette.responses import HTMLResponse

from app.web import labels, numbers, principal, site, theme, tokens
from app.web.addresses import address
from app.web.assets import Assets

FOLDER = Path(__file__).parents[2] / "templates"


def environment(assets: Assets, *, folder: Path = FOLDER) -> Environment:
    made = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        glyphs=tokens.glyphs,
        label=labels.label,
        value=numbers.value,
        share=numbers.share,
        count=numbers.count,
        dumps=json.dumps,
    )
    made.globals.update(vendored=assets.vendored, asset_url=assets.url)
    return made


def is_fragment(request: Request) -> bool:
    """Whether htmx asks for part of a page. Other sites cannot send this header without being asked first (CORS)."""
    headers = request.headers
    return headers.get("hx-request") == "true" and headers.get("hx-history-restore-request") != "true"


def target(request: Request) -> str:
    """The id of the element that htmx will put the answer into; empty for none."""
    return request.headers.get("hx-target", "").partition("#")[2]


def asker(request: Request) -> str:
    """The id of the element that asks, where htmx does; empty for none."""
    return request.headers.get("hx-source", "").partition("#")[2]


def page(
    request: Request,
    template: str,
    context: Mapping[str, Any],
    *,
    blocks: Sequence[str] = ("content",),
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """The page, or only `blocks` of it when htmx asks."""
    made: Environment = request.app.state.house.templates
    fragment = is_fragment(request)
    everything = {
        **context,
        "fragment": fragment,
        "theme": theme.chosen(request),
        "principal": principal.current(request),
        "site": site.site_of(request),
        "url": lambda *segments, **query: address(request.scope, *segments, **query),
        "static": lambda path: address(request.scope) + made.globals["asset_url"](path),  # type: ignore[operator]
    }
    if fragment:
        text = render_blocks(made, template, list(blocks), everything)
    else:
        text = made.get_template(template).render(everything)
    answer = HTMLResponse(text, status_code=status, headers=dict(headers or {}))
    answer.headers.setdefault("Cache-Control", "no-store" if fragment else "no-cache")
    answer.headers.setdefault("Vary", "HX-Request, Cookie")
    return answer
