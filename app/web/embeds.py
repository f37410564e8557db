"""Embeds: a page without its frame, small, for the frames of other people's pages.

`?embed=true` asks for one, by Neuronpedia's parameters: every part is shown unless its own parameter says `false`.
Only these answers may be framed, by whom the setting `frame_ancestors` names; errors in them are framed as well, or a
reader would see nothing but a broken frame.

An embed computes by itself only for a frame of somebody who was named: where anybody may frame it, the reader presses
a button, or any page of the web could make the device work by a frame that nobody sees.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from app.web import csp, csrf, errors, templating
from app.web.house import house_of
from inference.engine.protocol import EngineError
from inference.errors import BadInput, GemlensError

WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
SCHEMES = ("system", "light", "dark")
FRAMES = frozenset({"iframe", "frame", "embed", "object", "fencedframe"})
ANYBODY = "*"


@dataclass(frozen=True, kw_only=True)
class Embed:
    """Which parts are shown."""

    explanation: bool = True
    """The label; of a live page the features that fire."""
    plots: bool = True
    activations: bool = True
    """Examples; of a live page its text."""
    test: bool = True
    testfield: bool = True
    """The field of the test; without it only what a given text does is shown."""
    link: bool = True
    steer: bool = True
    """Read because Neuronpedia's links carry it. Embeds steer nothing."""
    scheme: str = "system"

    def query(self) -> dict[str, str | None]:
        """The parameters that ask for this again."""
        parts = {f"embed{name}": "false" for name in PARTS if not getattr(self, name)}
        return {"embed": "true", **parts, "theme": None if self.scheme == "system" else self.scheme}


PARTS = tuple(field.name for field in fields(Embed) if field.type is bool)


def wanted(query: Mapping[str, str]) -> bool:
    return WORDS.get(query.get("embed", "").lower(), False)


def parse(query: Mapping[str, str]) -> Embed | None:
    """None where no embed is asked for."""
    if not wanted(query):
        return None
    scheme = query.get("theme") or "system"
    if scheme not in SCHEMES:
        raise BadInput(f"{scheme[:40]!r} is no colour scheme; choose {', '.join(SCHEMES)}.")
    return Embed(scheme=scheme, **{name: _shown(query, f"embed{name}") for name in PARTS})


def _shown(query: Mapping[str, str], name: str) -> bool:
    written = query.get(name, "")
    if not written:
        return True
    shown = WORDS.get(written.lower())
    if shown is None:
        raise BadInput(f"{name}={written[:40]!r} is neither true nor false.")
    return shown


def headers(request: Request) -> dict[str, str]:
    """With which an answer may be framed."""
    allowed = house_of(request).settings.frame_ancestors.strip() or "'none'"
    return {
        "Content-Security-Policy": csp.policy(frame_ancestors=allowed),
        # Pages that isolate themselves (COEP) may frame it too.
        "Cross-Origin-Resource-Policy": "cross-origin",
    }


def runs_by_itself(request: Request) -> bool:
    """Whether a text in the address is read without anybody pressing a button."""
    if house_of(request).settings.frame_ancestors.strip() != ANYBODY:
        return True
    framed = request.headers.get("sec-fetch-dest", "") in FRAMES
    return not framed or csrf.same_origin(request.headers)


def page(
    request: Request, template: str, context: Mapping[str, Any], *, embed: Embed, status: int = 200
) -> HTMLResponse:
    everything = {**context, "embed": embed, "embed_query": embed.query(), "runs": runs_by_itself(request)}
    return templating.page(request, template, everything, status=status, headers=headers(request))


async def framed(request: Request, make: Callable[[], Awaitable[Response]]) -> Response:
    """The answer, or the problem as an embed where an embed was asked for."""
    if not wanted(request.query_params):
        return await make()
    try:
        return await make()
    except (EngineError, GemlensError) as error:
        problem = errors.problem_of(error)
        return page(request, "share/problem.html", {"problem": problem}, embed=Embed(), status=problem.status)
