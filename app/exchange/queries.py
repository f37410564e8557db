"""The SQL of bringing in and giving out that no other room needs."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.tables import Checkpoint, Corpus, Model, Score, Source, SourceSet, Token, Tokenizer
from app.db.tables import Label as LabelTable
from app.exchange.given import GivenLabel
from app.store.sources import SourceRow

SAME = """
    select id from harvest where source_id = :source and state = 'ready' and settings->>'identity' = :identity
    order by id desc limit 1
"""
LABELS = """
    select id, index, text, method, author, version from label
    where source_id = :source and index = any(:indexes) and status = 'current' and visibility = 'public'
    order by index, method collate "C", author collate "C" nulls first, text collate "C", id
"""
SCORES = """
    select label_id, method, author, value, details from score where label_id = any(:labels)
    order by method collate "C", author collate "C" nulls first, id
"""
BEST_SCORES = """
    update feature_stat set score = best.value from (
        select label.index, max(score.value) as value from score join label on label.id = score.label_id
        where label.source_id = :source and score.status = 'done' group by label.index
    ) best
    where feature_stat.harvest_id = (select current_harvest_id from source where id = :source)
        and feature_stat.index = best.index and feature_stat.score is distinct from best.value
"""
FORGET = """
    delete from source where id = :source and dictionary_id is null
        and not exists (select from harvest where source_id = :source)
        and (:new or not exists (select from label where source_id = :source))
"""
FORGET_SET = """
    delete from source_set where id = :set and owner_id is null and title = ''
        and not exists (select from source where source_set_id = :set)
"""
LOADING = "select id from harvest where source_id = :source and state = 'loading' and settings->>'identity' = :identity"
INDEXES = "select index from feature_stat where harvest_id = :harvest and index > :after order by index limit :most"


async def ensure_model(session: AsyncSession, name: str, facts: Mapping[str, Any]) -> tuple[int, int | None]:
    """The model's id and its vocabulary's."""
    made = insert(Model).values(name=name, **facts).on_conflict_do_nothing(index_elements=["name"])
    await session.execute(made)
    row = (await session.execute(select(Model.id, Model.tokenizer_id).where(Model.name == name))).one()
    return int(row[0]), row[1]


async def model(session: AsyncSession, name: str) -> int | None:
    """The vocabulary of a model that is known here."""
    found: int | None = await session.scalar(select(Model.tokenizer_id).where(Model.name == name))
    return found


async def tokenizers(session: AsyncSession) -> list[tuple[int, str]]:
    """Vocabularies that are here, the largest first, with their checksums."""
    asked = select(Tokenizer.id, Tokenizer.sha256).order_by(Tokenizer.vocabulary.desc(), Tokenizer.id)
    return [(int(id_), str(sha256)) for id_, sha256 in await session.execute(asked)]


async def highest_token(session: AsyncSession, tokenizer_id: int) -> int:
    asked = select(func.max(Token.id)).where(Token.tokenizer_id == tokenizer_id)
    return int(await session.scalar(asked) or 0)


async def know_tokenizer(session: AsyncSession, model_id: int, tokenizer_id: int) -> None:
    unknown = Model.tokenizer_id.is_(None)
    await session.execute(update(Model).where(Model.id == model_id, unknown).values(tokenizer_id=tokenizer_id))


async def tokenizer_sha256(session: AsyncSession, tokenizer_id: int) -> str:
    return (await session.scalars(select(Tokenizer.sha256).where(Tokenizer.id == tokenizer_id))).one()


async def width(session: AsyncSession, model_name: str, source: str) -> int | None:
    """Of a source that is known here."""
    asked = select(Source.width).join(Model, Model.id == Source.model_id)
    found: int | None = await session.scalar(asked.where(Model.name == model_name, Source.name == source))
    return found


async def ensure_source(session: AsyncSession, model_id: int, name: str, *, layer: int, width: int) -> None:
    """A source without its dictionary, where there is none of this name."""
    group = name.partition("-")[2] or name
    made = insert(SourceSet).values(model_id=model_id, name=group, title="", visibility="public")
    await session.execute(made.on_conflict_do_nothing(index_elements=["model_id", "name"]))
    asked = select(SourceSet.id).where(SourceSet.model_id == model_id, SourceSet.name == group)
    set_id = (await session.scalars(asked)).one()
    given = insert(Source).values(
        model_id=model_id, source_set_id=set_id, name=name, layer=layer, width=width, facts={}
    )
    await session.execute(given.on_conflict_do_nothing(index_elements=["model_id", "name"]))


async def forget_source(session: AsyncSession, source: SourceRow, *, new: bool) -> None:
    """Removes a source, and its set, of which nothing is known; a `new` one also with labels that came before what
    failed."""
    values = {"source": source.id, "set": source.set_id, "new": new}
    await session.execute(text(FORGET), values)
    await session.execute(text(FORGET_SET), values)


async def checkpoint(session: AsyncSession, model_id: int, given: Mapping[str, str]) -> int:
    weights = {"model_id": model_id, "sha256": given["sha256"], "dtype": given["dtype"]}
    made = insert(Checkpoint).values(**weights, origin=given["origin"])
    await session.execute(made.on_conflict_do_nothing(index_elements=list(weights)))
    return (await session.scalars(select(Checkpoint.id).filter_by(**weights))).one()


async def same_import(session: AsyncSession, source_id: int, identity: str) -> int | None:
    """A finished harvest that was made from exactly the same."""
    found: int | None = await session.scalar(text(SAME), {"source": source_id, "identity": identity})
    return found


async def begun_import(session: AsyncSession, source_id: int, identity: str) -> int | None:
    """A harvest that is being made from exactly the same."""
    found: int | None = await session.scalar(text(LOADING), {"source": source_id, "identity": identity})
    return found


async def show(session: AsyncSession, source_id: int, harvest_id: int) -> None:
    await session.execute(update(Source).where(Source.id == source_id).values(current_harvest_id=harvest_id))


async def next_indexes(session: AsyncSession, harvest_id: int, after: int, most: int) -> list[int]:
    values = {"harvest": harvest_id, "after": after, "most": most}
    return [int(index) for index in await session.scalars(text(INDEXES), values)]


async def labels(session: AsyncSession, source_id: int, indexes: Collection[int]) -> list[Any]:
    """Public labels in an order that no import changes."""
    return list(await session.execute(text(LABELS), {"source": source_id, "indexes": list(indexes)}))


async def scores(session: AsyncSession, labels_: Collection[int]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    if labels_:
        for row in await session.execute(text(SCORES), {"labels": list(labels_)}):
            found.setdefault(row.label_id, []).append(row)
    return found


async def put_scores(session: AsyncSession, source_id: int, given: Collection[GivenLabel]) -> int:
    """Scores of labels that are here, each once."""
    indexes = {label.index for label in given}
    asked = select(LabelTable.id, LabelTable.index, LabelTable.text, LabelTable.method, LabelTable.author).where(
        LabelTable.source_id == source_id, LabelTable.index.in_(indexes)
    )
    ids = {(index, text_, method, author): id_ for id_, index, text_, method, author in await session.execute(asked)}
    there = await scores(session, list(ids.values()))
    added = 0
    for label in given:
        label_id = ids[label.index, label.text, label.method, label.author]
        known = {(row.method, row.author) for row in there.get(label_id, ())}
        for score in label.scores:
            if (score.method, score.author) in known:
                continue
            await session.execute(
                insert(Score).values(
                    label_id=label_id,
                    method=score.method,
                    author=score.author,
                    status="failed" if score.value is None else "done",
                    value=score.value,
                    details=score.details,
                )
            )
            added += 1
    return added


async def copy_best_scores(session: AsyncSession, source_id: int) -> None:
    """Lists are sorted by them."""
    await session.execute(text(BEST_SCORES), {"source": source_id})


async def longest(session: AsyncSession, corpus_id: int) -> int:
    """The length of a corpus's longest passage."""
    return int((await session.scalars(select(Corpus.longest).where(Corpus.id == corpus_id))).one())
