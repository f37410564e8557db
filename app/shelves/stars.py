"""`/lists/star`: the button that puts a feature among one's stars and takes it out again.

Feature pages show the button as it is for everybody, so that they can be kept; htmx then asks here how it is
for the one who looks. Without JavaScript the button leads to the stars, where what was chosen stands last.
"""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.shelves import files
from app.shelves.who import may_make
from app.store import shelves
from app.store.at_hand import database_of
from app.store.shelves import Named
from app.web import principal, templating
from app.web.addresses import address
from app.web.forms import text_fields
from inference.errors import BadInput, NotFound

router = APIRouter(include_in_schema=False)


@router.get("/lists/star")
async def show(request: Request, feature: str = "") -> Response:
    name, who = _name(request, feature), principal.current(request)
    async with database_of(request).session() as session:
        number = await shelves.starred(session, who, name)
    return _answer(request, name, on=number is not None)


@router.post("/lists/star")
async def press(request: Request) -> Response:
    """`do=put` or `do=take`; doing it twice changes nothing."""
    fields = await text_fields(request)
    name, who, do = _name(request, fields.get("feature", "")), principal.current(request), fields.get("do", "")
    if do not in ("put", "take"):
        raise BadInput(f"{do[:40]!r} is nothing to do with a star; put and take are.")
    async with database_of(request).session() as session:
        stars = await shelves.stars(session, who)
        number = await shelves.starred(session, who, name)
        if do == "put" and number is None:
            (place,) = await shelves.resolve(session, who, [name])
            if place.reason:
                raise NotFound(place.reason)
            await shelves.add(session, who, stars.public_id, [name], again=True)
        elif do == "take" and number is not None:
            await shelves.take_out(session, who, stars.public_id, number)
    return _answer(request, name, on=do == "put")


def _name(request: Request, written: str) -> Named:
    if not may_make(request):
        raise BadInput("Stars belong to somebody: sign in to have some.")
    return shelves.checked(files.lines(written)[0])


def _answer(request: Request, name: Named, *, on: bool) -> Response:
    if not templating.is_fragment(request):
        return RedirectResponse(address(request.scope, "lists", "stars"), status_code=303)
    context = {"feature": str(name), "on": on}
    return templating.page(request, "shelves/star.html", context, blocks=("star",))
