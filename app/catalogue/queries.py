"""The catalogue's SQL. Everything here may be said twice, by two processes at once, and holds once."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.catalogue.view import InstalledRow
from app.db.tables import Dictionary, Model, Source, SourceSet
from app.store.ownership import reachable
from app.web.principal import asking


async def models(session: AsyncSession) -> list[str]:
    return list(await session.scalars(select(Model.name).order_by(Model.id)))


async def installed(
    session: AsyncSession, model: str | None = None, *, source: str | None = None
) -> list[InstalledRow]:
    """Registered sources, by layer and name, but for others' private ones; of one model, or of one name."""
    asked = (
        select(
            Model.name,
            Source.name,
            Source.layer,
            Source.width,
            Source.facts,
            Dictionary.kind,
            Dictionary.reads,
            Dictionary.declared_l0,
            Dictionary.location,
            Dictionary.revision,
            Dictionary.sha256,
        )
        .join(Model, Model.id == Source.model_id)
        .join(SourceSet, SourceSet.id == Source.source_set_id)
        .outerjoin(Dictionary, Dictionary.id == Source.dictionary_id)
        .where(reachable(asking(), SourceSet))
        .order_by(Model.id, Source.layer, Source.name)
    )
    if model is not None:
        asked = asked.where(Model.name == model)
    if source is not None:
        asked = asked.where(Source.name == source)
    return [
        InstalledRow(
            model=name,
            source=called,
            layer=layer,
            width=width,
            kind=kind,
            site=reads[0].partition(".")[0] if reads else None,
            declared_l0=declared_l0,
            location=location,
            revision=revision,
            sha256=sha256,
            findings=tuple(facts.get("findings", ())),
        )
        for (
            name, called, layer, width, facts, kind, reads, declared_l0, location, revision, sha256,
        ) in await session.execute(asked)
    ]  # fmt: skip


async def lock_model(session: AsyncSession, name: str, facts: Mapping[str, Any]) -> int:
    """The model's id, made if it is new. Whoever registers for the same model next waits for this transaction."""
    made = insert(Model).values(name=name, **facts).on_conflict_do_nothing(index_elements=["name"])
    await session.execute(made)
    return (await session.scalars(select(Model.id).where(Model.name == name).with_for_update())).one()


class Registered(NamedTuple):
    """A source, and the dictionary it has now."""

    width: int
    dictionary_id: int | None
    location: str | None
    sha256: str | None


async def source(session: AsyncSession, model_id: int, name: str) -> Registered | None:
    asked = (
        select(Source.width, Dictionary.id, Dictionary.location, Dictionary.sha256)
        .outerjoin(Dictionary, Dictionary.id == Source.dictionary_id)
        .where(Source.model_id == model_id, Source.name == name)
    )
    row = (await session.execute(asked)).one_or_none()
    return None if row is None else Registered(*row)


async def sources_at(session: AsyncSession, model_id: int, location: str) -> list[str]:
    """The sources of the dictionary at a location."""
    asked = (
        select(Source.name)
        .join(Dictionary, Dictionary.id == Source.dictionary_id)
        .where(Dictionary.model_id == model_id, Dictionary.location == location)
        .order_by(Source.layer)
    )
    return list(await session.scalars(asked))


async def has_dictionary(session: AsyncSession, model_id: int, location: str) -> bool:
    asked = select(Dictionary.id).where(Dictionary.model_id == model_id, Dictionary.location == location)
    return (await session.execute(asked)).one_or_none() is not None


async def put_dictionary(session: AsyncSession, facts: Mapping[str, Any]) -> int:
    """The dictionary of a model at a location, with these facts."""
    given = insert(Dictionary).values(**facts)
    changed = {name: given.excluded[name] for name in facts if name not in ("model_id", "location")}
    put = given.on_conflict_do_update(index_elements=["model_id", "location"], set_=changed)
    return (await session.scalars(put.returning(Dictionary.id))).one()


async def move_dictionary(session: AsyncSession, id: int | None, location: str) -> None:
    """The same weights, found elsewhere."""
    await session.execute(update(Dictionary).where(Dictionary.id == id).values(location=location))


async def put_source_set(session: AsyncSession, model_id: int, name: str, title: str) -> int:
    made = insert(SourceSet).values(model_id=model_id, name=name, title=title, visibility="public")
    await session.execute(made.on_conflict_do_nothing(index_elements=["model_id", "name"]))
    asked = select(SourceSet.id).where(SourceSet.model_id == model_id, SourceSet.name == name)
    return (await session.scalars(asked)).one()


async def put_source(session: AsyncSession, facts: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    """The source of a model under a name. What pages show of it (`shown`) is added to what is there."""
    given = insert(Source).values(**facts, facts=dict(shown))
    put = given.on_conflict_do_update(
        index_elements=["model_id", "name"],
        set_={
            "dictionary_id": given.excluded.dictionary_id,
            "facts": Source.facts.op("||")(given.excluded.facts),
        },
    )
    await session.execute(put)
