"""Through an index or not, filtered or not, lists are full and hold what is nearest."""

import numpy as np
import pytest
from sqlalchemy import text

from app.db.nearness import index_labels
from app.search import meaning
from app.search.question import Question
from app.search.scope import scope_of
from app.store import near_labels
from tests.app.search.conftest import Searched, letters
from tests.app.world import SOURCES

QUERIES = ("musical instruments", "green", "rivers of France", "small numbers")


@pytest.mark.parametrize(
    "question",
    [Question(), Question(source=SOURCES[0][0]), Question(density=1.0), Question(method="model"), Question(dead=True)],
    ids=lambda question: str({name: value for name, value in question.query().items() if value}),
)
async def test_an_index_changes_nothing_that_is_found(
    own: Searched, monkeypatch: pytest.MonkeyPatch, question: Question
) -> None:
    monkeypatch.setattr(near_labels, "ENOUGH", 50)  # else a hundred labels are few, and compared one by one
    database = own.world.database
    exact = {}
    async with database.session() as session:
        scope = await scope_of(session, question, None)
        for query in QUERIES:
            exact[query] = await meaning.nearest(session, scope, letters(query), depth=20)
    async with database.raw() as connection:
        assert await index_labels(connection, scope.places[0].set_id, enough=100)
    async with database.session() as session:
        await session.execute(text("set local enable_seqscan = off"))
        for query in QUERIES:
            found = await meaning.nearest(session, scope, letters(query), depth=20)
            assert len(found) == len(exact[query])
            assert np.allclose([row.rank for row in found], [row.rank for row in exact[query]], atol=1e-4)
