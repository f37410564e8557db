"""What the tables refuse, and that the questions asked of them find their indexes."""

from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.db.database import Database
from app.db.tables import Corpus, Harvest, Label, Model, Score, Shelf, ShelfItem, Source, SourceSet, Token, Tokenizer


async def catalogue(database: Database) -> tuple[Source, Source, Harvest]:
    """Two sources of one set, and a harvest of the first."""
    async with database.session() as session:
        tokenizer = Tokenizer(name="gemma-3", sha256="0" * 64, vocabulary=262_144)
        session.add(tokenizer)
        await session.flush()
        model = Model(name="gemma-3-270m", tokenizer_id=tokenizer.id, layers=18, width=640, chat=False)
        corpus = Corpus(tokenizer_id=tokenizer.id, name="c", longest=128)
        session.add_all([model, corpus])
        await session.flush()
        group = SourceSet(model_id=model.id, name="gemmascope-2-res-16k")
        session.add(group)
        await session.flush()
        one, other = (
            Source(model_id=model.id, source_set_id=group.id, name=f"{i}-gemmascope-2-res-16k", layer=i, width=16_384)
            for i in (9, 12)
        )
        session.add_all([one, other])
        await session.flush()
        harvest = Harvest(source_id=one.id, corpus_id=corpus.id, origin="test", version="0")
        session.add(harvest)
    return one, other, harvest


async def refused(database: Database, *rows: Any) -> None:
    with pytest.raises(IntegrityError):
        async with database.session() as session:
            session.add_all(rows)


async def run(database: Database, query: str, **values: Any) -> list[Any]:
    async with database.session() as session:
        return list((await session.execute(text(query), values)).all())


async def plan(database: Database, query: str) -> str:
    async with database.session() as session:
        await session.execute(text("set local enable_seqscan = off"))
        return "\n".join(row[0] for row in await session.execute(text("explain " + query)))


async def test_one_update_shows_a_harvest_and_nobody_shows_anothers(database: Database) -> None:
    one, other, harvest = await catalogue(database)
    switch = "update source set current_harvest_id = :h where id = :s returning 1"

    async def show(source: Source) -> list[Any]:
        async with database.session() as session:
            return list((await session.execute(text(switch), {"h": harvest.id, "s": source.id})).all())

    assert await show(one) == [(1,)]
    with pytest.raises(IntegrityError):
        await show(other)


async def test_a_source_goes_with_its_harvests_and_labels(database: Database) -> None:
    one, _, harvest = await catalogue(database)
    label = Label(source_set_id=one.source_set_id, source_id=one.id, index=0, text="t", method="human")
    async with database.session() as session:
        session.add(label)
        await session.execute(
            text("update source set current_harvest_id = :h where id = :s"), {"h": harvest.id, "s": one.id}
        )

    async def delete() -> None:
        async with database.session() as session:
            await session.execute(text("delete from source where id = :s"), {"s": one.id})

    await delete()
    assert await run(database, "select count(*) from harvest") == [(0,)]
    assert await run(database, "select count(*) from label") == [(0,)]


async def test_a_label_names_the_source_set_of_its_source(database: Database) -> None:
    one, _, _ = await catalogue(database)
    await refused(database, Label(source_set_id=one.source_set_id + 1, source_id=one.id, index=0, text="t", method="m"))


async def test_a_failed_score_has_no_number_and_a_done_one_has(database: Database) -> None:
    one, _, _ = await catalogue(database)
    label = Label(source_set_id=one.source_set_id, source_id=one.id, index=0, text="t", method="human")
    async with database.session() as session:
        session.add(label)
    await refused(database, Score(label_id=label.id, method="eleuther_fuzz", status="failed", value=0.5))
    await refused(database, Score(label_id=label.id, method="eleuther_fuzz", status="done"))
    async with database.session() as session:
        session.add(Score(label_id=label.id, method="eleuther_fuzz", status="failed", details={"why": "no answer"}))
        session.add(Score(label_id=label.id, method="eleuther_fuzz", value=0.5))


async def test_an_item_of_a_list_is_a_feature_or_a_vector(database: Database) -> None:
    one, _, _ = await catalogue(database)
    shelf = Shelf(public_id="abc", title="t")
    async with database.session() as session:
        session.add(shelf)
    await refused(database, ShelfItem(shelf_id=shelf.id, number=1))
    await refused(database, ShelfItem(shelf_id=shelf.id, number=1, source_id=one.id))
    await refused(database, ShelfItem(shelf_id=shelf.id, number=1, index=3))
    async with database.session() as session:
        session.add(ShelfItem(shelf_id=shelf.id, number=1, source_id=one.id, index=3))


@pytest.mark.parametrize("column", ["visibility", "status"])
async def test_only_known_words_are_taken(database: Database, column: str) -> None:
    one, _, _ = await catalogue(database)
    words = {"text": "t", "method": "m", column: "nonsense"}
    await refused(database, Label(source_set_id=one.source_set_id, source_id=one.id, index=0, **words))


async def test_a_word_finds_its_tokens_by_its_beginning(database: Database) -> None:
    await catalogue(database)
    async with database.session() as session:
        tokenizer = (await session.execute(text("select id from tokenizer"))).scalar_one()
        texts = ["doctor", " doctor", " Doctor", " doctors", "indoctrinate", "100%", "\n", "<0x00>"]
        session.add_all([Token(tokenizer_id=tokenizer, id=i, text=word) for i, word in enumerate(texts)])
    query = "select id from token where tokenizer_id = 1 and lower(ltrim(text)) like 'doctor%' order by id"
    assert await run(database, query) == [(0,), (1,), (2,), (3,)]
    assert "token_word_index" in await plan(database, query)


async def test_labels_are_found_by_word_by_part_and_fuzzily(database: Database) -> None:
    one, _, _ = await catalogue(database)
    texts = ["References to physicians and doctors", "Verbs in the past tense", "Names of rivers"]
    async with database.session() as session:
        for i, words in enumerate(texts):
            session.add(Label(source_set_id=one.source_set_id, source_id=one.id, index=i, text=words, method="m"))
    word = "select index from label where words @@ websearch_to_tsquery('english', 'doctor')"
    part = "select index from label where text ilike '%hysic%'"
    fuzzy = "select index from label where text %> 'physiciens'"
    assert await run(database, word) == [(0,)]
    assert await run(database, part) == [(0,)]
    assert await run(database, fuzzy) == [(0,)]
    assert "label_words_index" in await plan(database, word)
    assert "label_text_index" in await plan(database, part)


@pytest.mark.parametrize("column", ["top_logits", "bottom_logits", "top_tokens"])
async def test_features_are_found_by_token(database: Database, column: str) -> None:
    names = "top_logits top_logit_values bottom_logits bottom_logit_values top_tokens top_token_values neighbours"
    names += " neighbour_cosines histogram logit_histogram"
    arrays = dict.fromkeys(names.split(), "{}") | {column: "{17,4711}"}
    columns, values = ", ".join(arrays), ", ".join(f"'{value}'" for value in arrays.values())
    async with database.raw() as connection:
        query = f"insert into feature_detail (harvest_id, index, {columns}) values (1, 5, {values})"
        await connection.execute(query.encode())
    query = f"select index from feature_detail where {column} @> array[4711]"
    assert await run(database, query) == [(5,)]
    assert f"feature_detail_default_{column}_idx" in await plan(database, query)


async def test_passages_of_an_import_are_kept_once(database: Database) -> None:
    async with database.raw() as connection:
        insert = "insert into passage (corpus_id, id, tokens, digest) values (%s, %s, '{2,3}', %s)"
        await connection.execute(insert, [1, 0, b"x" * 16])
        await connection.execute(insert, [2, 0, b"x" * 16])
        await connection.execute(insert, [1, 1, None])
        await connection.execute(insert, [1, 2, None])
        with pytest.raises(psycopg.errors.UniqueViolation):
            await connection.execute(insert, [1, 3, b"x" * 16])
