"""The live page's SQL: which features of some harvests fire on more than a share of tokens."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.tables import FeatureStat


async def dense(session: AsyncSession, harvest_ids: Collection[int], above: float) -> dict[int, set[int]]:
    """By harvest, the features whose density is greater than a share from 0 to 1."""
    found: dict[int, set[int]] = {harvest: set() for harvest in harvest_ids}
    asked = select(FeatureStat.harvest_id, FeatureStat.index).where(
        FeatureStat.harvest_id.in_(harvest_ids), FeatureStat.density > above
    )
    for harvest, index in await session.execute(asked):
        found[harvest].add(index)
    return found
