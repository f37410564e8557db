"""`/api/model/…`, `/api/source-set/…` and `/api/global`: what is installed here, in Neuronpedia's columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from fastapi import APIRouter
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from app.db.tables import Model, Source, SourceSet
from app.neuronpedia.made import hub, told
from app.neuronpedia.made.asked import ModelAsked
from app.neuronpedia.made.routing import answer
from app.neuronpedia.made.told import HOME, Everything, Kind, ModelTold, ModelWithSets, Release, SourceSetTold
from app.neuronpedia.web.answering import get, post
from app.neuronpedia.web.releases import release_of
from app.store import ownership
from app.store import sources as stored
from app.store.at_hand import database_of
from app.store.row_ids import CREATOR
from app.store.sources import SourceRow
from app.web import principal
from app.web.house import house_of
from gemmascope.models import MODELS
from gemmascope.nearest import nearest
from inference.errors import NotFound

KINDS = """
    select distinct label.method, label.author, score.method as scored, score.author as scorer
    from (select id, method, author from label order by id desc limit 100000) as label
    left join score on score.label_id = label.id
"""
"""Of the newest labels: a server may hold a thousand million."""
HUB = "https://huggingface.co/"

router = APIRouter(prefix="/api", tags=["catalogue"])


@dataclass(frozen=True, kw_only=True)
class Shelved:
    """A model with everything installed for it that may be shown."""

    model: Model
    sets: Sequence[tuple[SourceSet, Sequence[SourceRow]]]
    made: Mapping[int, datetime]
    """By source, when it was installed."""
    served: bool


@post(router, "/model/get", ModelWithSets)
async def model_get(request: Request, asked: ModelAsked) -> Response:
    """A model with its source sets and their sources."""
    async with database_of(request).session() as session:
        models = list(await session.scalars(select(Model).order_by(Model.id)))
        found = next((model for model in models if model.name == asked.id), None)
        if found is None:
            names = ", ".join(model.name for model in models)
            raise NotFound(f"{asked.id[:80]!r} is no model of this server. It has: {names or 'none yet'}.")
        shelved = await _shelved(request, session, found)
    return answer(_whole_model(shelved))


@post(router, "/model/list", list[ModelTold])
async def model_list(request: Request) -> Response:
    """The models that are installed or served."""
    async with database_of(request).session() as session:
        models = await session.scalars(select(Model).order_by(Model.id))
        shelved = [await _shelved(request, session, model) for model in models]
    return answer([_model(one) for one in shelved])


@get(router, "/source-set/{modelId}/{name}", SourceSetTold)
async def source_set(request: Request, modelId: str, name: str) -> Response:
    """A source set with its sources, by layer."""
    async with database_of(request).session() as session:
        asked = select(SourceSet, Model).join(Model, Model.id == SourceSet.model_id).where(
            Model.name == modelId, ownership.reachable(principal.current(request), SourceSet)
        )  # fmt: skip
        sets = {found.name: (found, model) for found, model in await session.execute(asked)}
        if name not in sets:
            named = [one for one, (row, _) in sets.items() if ownership.may_be_named(principal.current(request), row)]
            near = ", ".join(nearest(name, named) or tuple(named)[:4])
            rest = f" Perhaps {near}?" if near else ""
            raise NotFound(f"{modelId[:80]!r} has no source set {name[:80]!r} here.{rest}")
        found, model = sets[name]
        shelved = await _shelved(request, session, model, only=found)
    return answer(_set(shelved, *shelved.sets[0]))


@post(router, "/global", Everything)
async def everything(request: Request) -> Response:
    """All that a client may choose from: models, releases, kinds of labels and of scores."""
    async with database_of(request).session() as session:
        models = await session.scalars(select(Model).order_by(Model.id))
        shelved = [await _shelved(request, session, model) for model in models]
        rows = (await session.execute(text(KINDS))).all()
    return answer(
        Everything(
            models=[_whole_model(one) for one in shelved],
            releases=_releases(shelved),
            explanationTypes=_kinds(row.method for row in rows),
            explanationModels=_kinds(row.author for row in rows),
            explanationScoreTypes=_kinds(row.scored for row in rows),
            explanationScoreModelTypes=_kinds(row.scorer for row in rows),
        )
    )


async def _shelved(request: Request, session: AsyncSession, model: Model, *, only: SourceSet | None = None) -> Shelved:
    asked = select(SourceSet).where(SourceSet.model_id == model.id).order_by(SourceSet.id)
    sets = [only] if only else list(
        await session.scalars(asked.where(ownership.visible(principal.current(request), SourceSet)))
    )  # fmt: skip
    rows = await stored.of_model(session, model.name)
    made = dict((await session.execute(select(Source.id, Source.created).where(Source.model_id == model.id))).all())
    return Shelved(
        model=model,
        sets=[(one, [row for row in rows if row.set_id == one.id]) for one in sets],
        made=cast(Mapping[int, datetime], made),
        served=model.name in house_of(request).engines,
    )


def _model(shelved: Shelved) -> ModelTold:
    model = shelved.model
    known = MODELS.get(model.name)
    created = min((one.created for one, _ in shelved.sets), default=None)
    shown = _shown_name(model.name)
    first = next((rows for _, rows in shelved.sets if rows), [])
    return ModelTold(
        id=model.name,
        displayNameShort=shown,
        displayName=shown,
        creatorId=CREATOR,
        tlensId=known.hf_repo.partition("/")[2] if known else None,
        openRouterId=None,
        dimension=model.width,
        thinking=False,
        visibility="PUBLIC",
        defaultSourceSetName=first[0].set_name if first else None,
        defaultSourceId=first[0].name if first else None,
        defaultGraphSourceSetName=None,
        inferenceEnabled=shelved.served,
        instruct=model.chat,
        layers=model.layers,
        neuronsPerLayer=known.mlp_width if known else 0,
        createdAt=created,
        owner="Google" if known else HOME,
        updatedAt=max(shelved.made.values(), default=created),
        website=f"{HUB}{known.hf_repo}" if known else None,
    )


def _whole_model(shelved: Shelved) -> ModelWithSets:
    sets = [_set(shelved, one, rows) for one, rows in shelved.sets]
    return ModelWithSets(**_model(shelved).model_dump(), sourceSets=sets)


def _set(shelved: Shelved, one: SourceSet, rows: Sequence[SourceRow]) -> SourceSetTold:
    repos = sorted({place[0] for row in rows if (place := hub.place(row.location))})
    return SourceSetTold(
        modelId=shelved.model.name,
        name=one.name,
        hasDashboards=any(row.harvest for row in rows),
        allowInferenceSearch=shelved.served and any(row.location for row in rows),
        visibility=_visibility(one.visibility),
        description=one.description or one.title,
        type=next((row.kind for row in rows if row.kind), ""),
        creatorName=repos[0].partition("/")[0] if repos else HOME,
        urls=[HUB + repo for repo in repos],
        creatorEmail=None,
        creatorId=CREATOR,
        releaseName=release_of(one.name),
        hasGraphs=False,
        graphEnabled=False,
        similarityMatrixEnabled=False,
        defaultOfModelId=None,
        defaultGraphModelId=None,
        defaultRange=1,
        defaultShowBreaks=True,
        showDfa=False,
        showCorrelated=False,
        showHeadAttribution=False,
        showUmap=False,
        createdAt=one.created,
        sources=[_source(shelved, one, row) for row in rows],
    )


def _source(shelved: Shelved, of: SourceSet, row: SourceRow) -> told.SourceTold:
    place = hub.place(row.location)
    return told.SourceTold(
        id=row.name,
        modelId=row.model,
        setName=row.set_name,
        hasDashboards=row.harvest is not None,
        inferenceEnabled=shelved.served and row.location is not None,
        visibility=_visibility(of.visibility),
        saelensConfig=None,
        saelensRelease=None,
        saelensSaeId=None,
        hfRepoId=place[0] if place else None,
        hfFolderId=place[1] if place else None,
        creatorId=CREATOR,
        hasUmap=False,
        hasUmapLogSparsity=False,
        hasUmapClusters=False,
        num_prompts=None,
        num_tokens_in_prompt=None,
        dataset=row.harvest.corpus if row.harvest else None,
        notes=None,
        cosSimMatchModelId=None,
        cosSimMatchSourceId=None,
        defaultOfModelId=None,
        createdAt=shelved.made[row.id],
    )


def _releases(models: Iterable[Shelved]) -> list[Release]:
    found: dict[str, list[SourceSetTold]] = {}
    for shelved in models:
        for one, rows in shelved.sets:
            found.setdefault(release_of(one.name), []).append(_set(shelved, one, rows))
    return [
        Release(
            name=name,
            description="",
            descriptionShort=None,
            visibility="PUBLIC",
            featured=False,
            urls=sorted({url for one in sets for url in one.urls}),
            creatorName=sets[0].creatorName,
            creatorNameShort=None,
            creatorEmail=None,
            defaultSourceSetName=sets[0].name,
            defaultSourceId=next((source.id for one in sets for source in one.sources), None),
            defaultUmapSourceIds=[],
            sourceSets=sets,
        )
        for name, sets in found.items()
    ]


def _kinds(names: Iterable[str | None]) -> list[Kind]:
    return [
        Kind(name=name, displayName=name, description="", featured=True)
        for name in sorted({name for name in names if name})
    ]


def _visibility(word: str) -> told.Visibility:
    return cast(told.Visibility, word.upper())


def _shown_name(name: str) -> str:
    """`gemma-3-270m-it` as `Gemma-3-270M-IT`."""
    return "-".join(part.capitalize() if part.isalpha() and len(part) > 2 else part.upper() for part in name.split("-"))
