"""Rows of a feature's tables as HTML: its tokens, and the features that are like it.

Written here and not in a template because a page has some seventy: each is one piece of text here and a dozen calls
there."""

from collections.abc import Iterable
from html import escape

from markupsafe import Markup

from app.features.view import Relation, TokenWeight
from app.web import labels, numbers, tokens

NO_LABEL = Markup('<span class="quiet">no label</span>')


def weights(rows: Iterable[TokenWeight], *, shares: bool = False) -> Markup:
    """Tokens with what each is worth."""
    written = numbers.share if shares else numbers.value
    return Markup("".join([_weight(one, written(one.value)) for one in rows]))


def relations(rows: Iterable[Relation], place: str) -> Markup:
    """Features with their labels; `place` is the address of their source."""
    return Markup("".join([_relation(one, escape(place)) for one in rows]))


def _weight(one: TokenWeight, value: str) -> str:
    piece = f'<span class="piece" dir="auto" title="token {one.id}">{_text(one.text)}</span>'
    return f'<tr><th scope="row">{piece}</th><td class="number">{value}</td></tr>\n'


def _relation(one: Relation, place: str) -> str:
    shown = labels.label(one.label, "quiet" if one.counted else "") if one.label else NO_LABEL
    return (
        f'<tr><th scope="row"><a href="{place}/{one.index}">{one.index}</a> {shown}</th>'
        f'<td class="number">{one.value:.2f}</td><td class="number quiet">{numbers.share(one.density)}</td></tr>\n'
    )


def _text(text: str) -> str:
    return escape(tokens.glyphs(text), quote=False)
