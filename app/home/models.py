"""What a server knows of its models, gathered for the home page, the pages of models and the tour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.home.atlas import atlas
from app.home.offers import facts
from app.home.view import ModelView, Progress
from app.store import sources
from app.store.sources import SourceRow
from app.web.house import House
from app.web.quality import Card
from app.web.sources import InstalledSource


@dataclass(frozen=True, kw_only=True)
class Known:
    """Of one model: what is installed, how good it is, and the rows of the database behind it."""

    view: ModelView
    installed: Sequence[InstalledSource]
    cards: Mapping[str, Card]
    rows: Sequence[SourceRow]


async def names(house: House) -> list[str]:
    """Those that an engine serves, then those that are only browsed."""
    return list(dict.fromkeys([*house.engines, *await house.catalogue.models()]))


async def known(house: House, model: str) -> Known:
    installed = await house.catalogue.sources(model)
    cards = await house.catalogue.cards(model) if installed else {}
    rows = await _rows(house, model) if installed else []
    making = None if installed or model not in house.engines else await house.making(model)
    drawn = atlas(
        model,
        installed,
        cards=cards,
        reads={row.name: row.reads for row in rows},
        harvested={row.name for row in rows if row.harvest is not None},
    )
    view = ModelView(
        model=model,
        served=model in house.engines,
        facts=facts(model),
        map=drawn,
        making=None
        if making is None
        else Progress(fraction=making.fraction, sentence=making.sentence, failed=making.failed),
    )
    return Known(view=view, installed=installed, cards=cards, rows=rows)


async def _rows(house: House, model: str) -> list[SourceRow]:
    if house.data is None:
        return []
    async with house.data.session() as session:
        return await sources.of_model(session, model)
