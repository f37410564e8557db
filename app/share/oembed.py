"""`/oembed`: how another site shows one of our addresses (oembed.com, version 1.0, JSON).

Features and live pages are frames, sources are links with a picture. What is given back fits into `maxwidth` and
`maxheight`; a picture that does not is left out.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.features import handing_on
from app.features.reading import read_feature
from app.share import drawing
from app.share.pages import pictured
from app.store import sources
from app.store.at_hand import database_of
from app.web import embeds, hosts, sharing
from app.web.addresses import address
from app.web.errors import Problem
from app.web.errors import response as problem_response
from app.web.house import house_of
from app.web.sharing import Shared
from inference.errors import BadInput, NotFound

CACHE_SECONDS = 3600
LEAST_FRAME = 120
"""A frame narrower or lower than this shows nothing; then the answer is a link."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Place:
    """An address of ours, taken apart."""

    segments: tuple[str, ...]
    query: dict[str, str]


@router.get("/oembed")
async def oembed(request: Request) -> Response:
    asked = request.query_params
    if asked.get("format", "json") != "json":
        sentence = "This server describes its pages as JSON only: ask with format=json."
        return problem_response(request, Problem(501, "not_implemented", sentence))
    width = _most(asked.get("maxwidth"), sharing.WIDTH, "maxwidth")
    height = _most(asked.get("maxheight"), sharing.HEIGHT, "maxheight")
    shared = await _shared(request, _place(request, asked.get("url", "")))
    found: dict[str, str | int] = {
        "version": "1.0",
        "type": "link",
        "title": shared.title,
        "provider_name": "Gemlens",
        "provider_url": sharing.origin(request) + address(request.scope),
        "cache_age": CACHE_SECONDS,
    }
    if shared.embed is not None and min(width, height) >= LEAST_FRAME:
        html = sharing.iframe(shared.embed, shared.title, width=width, height=height)
        found |= {"type": "rich", "html": html, "width": width, "height": height}
    if _fits(asked.get("maxwidth"), drawing.WIDTH) and _fits(asked.get("maxheight"), drawing.HEIGHT):
        found |= {
            "thumbnail_url": shared.card,
            "thumbnail_width": drawing.WIDTH,
            "thumbnail_height": drawing.HEIGHT,
        }
    return JSONResponse(found, headers={"Cache-Control": "no-cache"})


async def _shared(request: Request, place: Place) -> Shared:
    match place.segments:
        case ("s", view_id):
            view, opener = await pictured(request, view_id)
            return await opener.shared(request, view, place.query)
        case (model, "live"):
            live = request.app.state.openers["live"]
            shared: Shared = await live.shared_at(request, model, place.query)
            return shared
        case (model, source, index) if index.isdecimal():
            async with database_of(request).session() as session:
                found = await sources.find(session, model, source)
                found.check_index(sources.check_number(index))
                feature = await read_feature(session, found, int(index), context="snippet")
            return handing_on.shared_feature(request, feature, _without_embed(place.query))
        case (model, source):
            async with database_of(request).session() as session:
                found = await sources.find(session, model, source)
            return handing_on.shared_source(request, found.name, found, _without_embed(place.query))
    raise NotFound("Features, sources, live pages and saved views can be embedded; this address is none of them.")


def _place(request: Request, url: str) -> Place:
    if not url:
        raise BadInput("Say which page: /oembed?url=… with the whole address of one.")
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
    except ValueError:
        parts, name = urlsplit(""), ""
    allowed = hosts.parse_allowed(house_of(request).settings.allowed_hosts)
    ours = parts.netloc == request.url.netloc or (
        not hosts.is_loopback(name) and hosts.allowed(name, allowed_hosts=allowed)
    )
    if parts.scheme not in ("http", "https") or not ours:
        raise NotFound(f"{url[:200]!r} is no address of this server.")
    root = request.scope.get("root_path", "")
    path = parts.path
    if root:
        if not path.startswith(f"{root}/"):
            raise NotFound(f"{url[:200]!r} is no address of this server: its pages are below {root}/.")
        path = path.removeprefix(root)
    segments = tuple(unquote(part) for part in path.strip("/").split("/"))
    return Place(segments, dict(parse_qsl(parts.query)))


def _without_embed(query: dict[str, str]) -> dict[str, str | int | None]:
    parameters = {"embed", "theme", *(f"embed{name}" for name in embeds.PARTS)}
    return {name: value for name, value in query.items() if name not in parameters}


def _most(written: str | None, usual: int, name: str) -> int:
    if not written:
        return usual
    if not re.fullmatch(r"[0-9]{1,6}", written) or int(written) == 0:
        raise BadInput(f"{name}={written[:40]!r} is no number of pixels.")
    return min(usual, int(written))


def _fits(written: str | None, size: int) -> bool:
    return not written or size <= int(written)
