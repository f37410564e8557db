"""What an address of a feature asks for: which feature, which text to try it on; and where a wrong one leads."""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from app.store import features, sources, tokens
from app.store.at_hand import database_of
from app.store.sources import SourceRow
from app.web.addresses import address
from app.web.examples import BOS
from inference.errors import BadInput, GemlensError

LONGEST_NUMBER = 40
"""Digits that are read as a number, however far beyond the width: the range is then the better answer."""


async def asked(session: AsyncSession, model: str, source: str, index: str) -> tuple[SourceRow, int]:
    found = await sources.find(session, model, source)
    number = int(index) if _is_number(index) else sources.check_number(index)
    found.check_index(number)
    return found, number


async def text_of(session: AsyncSession, source: SourceRow, fields: Mapping[str, str]) -> str:
    """What to try the feature on: written out (Neuronpedia's name for it too), or a passage of the corpus."""
    text = fields.get("text") or fields.get("defaulttesttext") or ""
    text = text.replace("\r\n", "\n")
    if "\x00" in text:
        raise BadInput("The text holds a NUL character, which is no text. Leave it out.")
    passage = fields.get("passage", "")
    if text or not passage or source.harvest is None:
        return text
    if not (passage.isascii() and passage.isdigit() and len(passage) <= 10):
        raise BadInput(f"{passage[:40]!r} is no number of a passage.")
    ids = (await features.texts_of(session, source.harvest.corpus_id, [int(passage)])).get(int(passage))
    if ids is None:
        raise BadInput(f"{source.harvest.corpus} has no passage {passage}.")
    kept = ids[1:].tolist() if len(ids) and ids[0] == BOS else ids.tolist()
    return "".join(tokens.pieces(kept, await tokens.texts(session, source.harvest.tokenizer_id, kept)))


async def near_to(request: Request, model: str, source: str, index: str) -> list[tuple[str, str]]:
    """Where an address that cannot be read leads instead: the feature that is nearest to its number, and its source."""
    async with database_of(request).reading() as session:
        try:
            found = await sources.find(session, model, source)
        except GemlensError:
            return []
    near = [(source, address(request.scope, model, source))]
    if _is_number(index):
        number = min(int(index), found.width - 1)
        near.insert(0, (f"{source}/{number}", address(request.scope, model, source, number)))
    return near


def _is_number(index: str) -> bool:
    return index.isascii() and index.isdigit() and len(index) <= LONGEST_NUMBER
