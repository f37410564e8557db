"""A live page as others see it when it is handed on: its text with heat, as far as it was read lately."""

from starlette.requests import Request

from app.live.question import Question
from app.live.view import Live
from app.web import numbers
from app.web.cards import Card, Fact, Heat
from app.web.sharing import Part, Shared, share

PARTS = (
    Part(name="activations", title="Text"),
    Part(name="explanation", title="Features that fire"),
    Part(name="link", title="Link"),
)
SHOWN = 4
"""Features on a card."""


def shared_live(request: Request, model: str, question: Question, *, view: str | None) -> Shared:
    """`view` is the saved view that holds the texts, where they are too long for an address."""
    choices = question.choices()
    return share(
        request,
        *(("s", view) if view else (model, "live")),
        query=choices if view else question.query(),
        title=f"{question.title} · {model}" if question.asked else f"Live · {model}",
        description=f"Which features of {model} fire on this text, token by token.",
        card=("s", view) if view else (model, "live"),
        card_query=choices if view else question.query(),
        parts=PARTS if question.asked else (),
    )


def live_card(model: str, question: Question, live: Live | None) -> Card:
    """Without an answer that is at hand the text stands there plainly: cards never ask the engine."""
    if live is None:
        text = (Heat(question.title, 0),) if question.asked else ()
        note = "" if text else "Paste a text, and see which features fire on it, token by token."
        return Card(title="Which features fire on this text" if text else "Live", place=model, text=text, note=note)
    if live.feature is None:
        title, place = f"What fires in {live.source}", f"{model} · the strongest feature at each token"
    else:
        title, place = live.label or f"Feature {live.feature}", f"{model} · {live.source}/{live.feature}"
    strongest = tuple(one.label or f"{one.source}/{one.index}" for one in live.strongest[:SHOWN])
    return Card(
        title=title,
        place=place,
        text=tuple(Heat(token.piece, live.level(token)) for token in live.tokens if not token.special),
        facts=(Fact("Tokens", numbers.count(len(live.tokens))), Fact("Peak", numbers.value(live.peak))),
        lists=(("Strongest", strongest),) if strongest else (),
    )
