"""Labels near a query in meaning, within a search's filters."""

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from app.search.queries import Found
from app.search.scope import Scope
from app.store import near_labels
from app.store.near_labels import Wanted


async def nearest(session: AsyncSession, scope: Scope, vector: np.ndarray, *, depth: int) -> list[Found]:
    """The nearest labels within the scope, nearest first."""
    density = scope.question.density
    wanted = Wanted(
        places=scope.places,
        label=scope.label,
        values=scope.values,
        density=None if density is None else density / 100,
        dead=scope.question.dead,
    )
    rows = await near_labels.nearest(session, wanted, vector, depth=depth)
    return [Found(row.source_id, row.index, row.text, row.counted, row.rank) for row in rows]
