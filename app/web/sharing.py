"""How a page is handed on: its link, a frame, Markdown with its picture, and what other sites read in its head.

All addresses are whole ones, since they are read elsewhere. The host is the one that the request named, which the host
check has let through; the scheme is the server's, or what a trusted proxy says.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from starlette.requests import Request

from app.web import tokens
from app.web.addresses import address

WIDTH, HEIGHT = 540, 300
"""Of a frame, as Neuronpedia's."""
LONGEST_TITLE, LONGEST_DESCRIPTION = 110, 240

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#!|~&])")


@dataclass(frozen=True, kw_only=True)
class Part:
    """Of an embed, to be chosen or left out."""

    name: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Shared:
    title: str
    description: str
    link: str
    card: str
    embed: str | None
    """Address of its embed; None where it has none."""
    oembed: str
    parts: tuple[Part, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def iframe(self) -> str | None:
        return None if self.embed is None else iframe(self.embed, self.title)

    @property
    def markdown(self) -> str:
        return f"[![{in_markdown(self.title)}]({self.card})]({self.link})"


def origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


def share(
    request: Request,
    *segments: str | int,
    title: str,
    description: str,
    card: tuple[str | int, ...],
    query: Mapping[str, str | int | None] | None = None,
    card_query: Mapping[str, str | int | None] | None = None,
    parts: tuple[Part, ...] = (),
) -> Shared:
    """`segments` and `query` are the page's address, `card` and `card_query` its picture's below `/cards/`."""
    here = origin(request)
    link = here + address(request.scope, *segments, query=query)
    return Shared(
        title=one_line(title, LONGEST_TITLE),
        description=one_line(description, LONGEST_DESCRIPTION),
        link=link,
        card=here + address(request.scope, "cards", *card, suffix=".png", query=card_query),
        embed=here + address(request.scope, *segments, query={**(query or {}), "embed": "true"}) if parts else None,
        oembed=here + address(request.scope, "oembed", url=link, format="json"),
        parts=parts,
    )


def iframe(source: str, title: str, *, width: int = WIDTH, height: int = HEIGHT) -> str:
    return (
        f'<iframe src="{escape(source)}" title="{escape(title)}" width="{width}" height="{height}" loading="lazy" '
        'style="border:0;max-width:100%"></iframe>'
    )


def in_markdown(text: str) -> str:
    """So that nothing of it is markup there."""
    return _MARKDOWN.sub(r"\\\1", text)


def one_line(text: str, longest: int) -> str:
    """A title as other sites show it: glyphs for what does something, no line breaks, not too long."""
    shown = " ".join(tokens.glyphs(text[: 4 * longest]).split()) if text.strip() else ""
    return shown if len(shown) <= longest else shown[: longest - 1].rstrip() + "…"
