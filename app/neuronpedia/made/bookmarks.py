"""`/api/bookmark/…` and `/api/user/bookmarks`: somebody's stars."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.neuronpedia.made.asked import FeatureAsked
from app.neuronpedia.made.routing import answer
from app.neuronpedia.made.told import Bookmark
from app.neuronpedia.web.answering import post
from app.store import shelves
from app.store.at_hand import database_of
from app.web import principal
from inference.errors import NotFound

router = APIRouter(prefix="/api", tags=["lists"])


@post(router, "/bookmark/add", Bookmark)
async def add(request: Request, asked: FeatureAsked) -> Response:
    """Gives a feature a star. One that has a star already keeps it."""
    who = principal.current(request)
    async with database_of(request).session() as session:
        name = shelves.checked(asked.named())
        (place,) = await shelves.resolve(session, who, [name])
        if place.reason:
            raise NotFound(place.reason)
        stars = await shelves.stars(session, who)
        await shelves.add(session, who, stars.public_id, [name], again=True)
        number = await shelves.number_of(session, stars, name)
        (item,) = [one for one in await shelves.items(session, who, stars) if one.number == number]
    return answer(Bookmark.of(item, stars))


@post(router, "/bookmark/delete", Bookmark)
async def delete(request: Request, asked: FeatureAsked) -> Response:
    """Takes a feature's star away."""
    who = principal.current(request)
    async with database_of(request).session() as session:
        stars = await shelves.stars(session, who)
        number = await shelves.number_of(session, stars, shelves.checked(asked.named()))
        item = await shelves.take_out(session, who, stars.public_id, number)
    return answer(Bookmark.of(item, stars))


@post(router, "/user/bookmarks", list[Bookmark])
async def bookmarks(request: Request) -> Response:
    """One's stars, the newest first."""
    who = principal.current(request)
    async with database_of(request).session() as session:
        stars = await shelves.stars(session, who)
        items = await shelves.items(session, who, stars)
    return answer([Bookmark.of(item, stars) for item in reversed(items)])
