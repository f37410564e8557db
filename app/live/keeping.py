"""Live pages as saved views: the texts lie in the view, what is chosen on them stands in the address behind it."""

from collections.abc import Mapping
from typing import Any

from app.live.question import Question, parse
from app.store import views
from app.web.house import House
from inference.errors import NotFound, Unavailable

KIND = "live"
FORM = 1
"""Of bodies: the fields of a live page's form, by name."""


async def keep(house: House, model: str, question: Question) -> str:
    """The id of a new view of this question."""
    if house.data is None:
        raise Unavailable("This server has no database, so it cannot keep views. Copy the text instead.")
    body = {name: str(value) for name, value in question.query().items() if value not in (None, "")}
    async with house.data.session() as session:
        return await views.save(session, kind=KIND, model=model, form=FORM, body=body)


async def kept_as(house: House, model: str, question: Question, view: str | None) -> str | None:
    """The view that holds these texts: the one that the page came from, or a new one. None while it cannot be kept."""
    assert house.data is not None
    try:
        if view is not None:
            async with house.data.session() as session:
                try:
                    kept = await views.load(session, view)
                except NotFound:
                    kept = None
            if kept is not None and kept.model == model and read(kept.body).texts() == question.texts():
                return view
        return await keep(house, model, question)
    except Unavailable:
        return None


def read(body: Mapping[str, Any], chosen: Mapping[str, str] | None = None) -> Question:
    """The question of a view; what its address chooses goes before what was chosen when it was saved."""
    fields = {str(name): str(value) for name, value in body.items()}
    choices = _choices(chosen or {})
    if choices:
        # Texts are the view's own: an address changes what is looked at, not what was kept.
        texts = parse(fields).texts()
        fields = {**{name: str(value) for name, value in texts.items()}, **choices}
    return parse(fields)


def _choices(chosen: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in chosen.items() if name in Question().choices() or name == "cell"}
