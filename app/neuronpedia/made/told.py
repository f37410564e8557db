"""What the routes of things made answer: Neuronpedia's fields, under Neuronpedia's names.

Where Neuronpedia says which of its users made something, a home without sign-in says `home`.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, PlainSerializer

from app.neuronpedia.web.answering import iso
from app.store.shelves import Item, List
from app.store.vectors import OwnVector

HOME = "home"
Moment = Annotated[datetime, PlainSerializer(iso, return_type=str)]
Visibility = Literal["PUBLIC", "UNLISTED", "PRIVATE"]


class Told(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=(), use_attribute_docstrings=True)


class User(Told):
    name: str


class Message(Told):
    message: str


# --- lists --------------------------------------------------------------------------------------------------------


class ListTold(Told):
    id: str
    name: str
    description: str
    defaultTestText: str | None
    userId: str
    createdAt: Moment
    updatedAt: Moment

    @classmethod
    def fields_of(cls, made: List) -> dict[str, object]:
        return {
            "id": made.public_id,
            "name": made.title,
            "description": made.description,
            "defaultTestText": made.test_text or None,
            "userId": made.owner or HOME,
            "createdAt": made.created,
            "updatedAt": made.updated,
        }

    @classmethod
    def of(cls, made: List) -> "ListTold":
        return cls(**cls.fields_of(made))  # type: ignore[arg-type]


class ListWithAddress(ListTold):
    url: str


class NewListTold(ListWithAddress):
    user: User


class ListsOnNeurons(Told):
    """A feature in a list."""

    modelId: str
    layer: str
    index: str
    listId: str
    description: str | None
    addedAt: Moment
    userId: str

    @classmethod
    def fields_of(cls, item: Item, made: List) -> dict[str, object]:
        return {
            "modelId": item.model,
            "layer": item.source,
            "index": item.index,
            "listId": made.public_id,
            "description": item.note,
            "addedAt": item.created,
            "userId": made.owner or HOME,
        }

    @classmethod
    def of(cls, item: Item, made: List) -> "ListsOnNeurons":
        return cls(**cls.fields_of(item, made))  # type: ignore[arg-type]


class Bookmark(Told):
    id: str
    modelId: str
    layer: str
    index: str
    userId: str
    createdAt: Moment

    @classmethod
    def of(cls, item: Item, stars: List) -> "Bookmark":
        return cls(
            id=f"{stars.public_id}-{item.number}",
            modelId=item.model,
            layer=item.source,
            index=item.index,
            userId=stars.owner or HOME,
            createdAt=item.created,
        )


# --- vectors ------------------------------------------------------------------------------------------------------


class NewVectorTold(Told):
    modelId: str
    source: str
    index: str
    label: str
    createdAt: Moment
    defaultSteerStrength: float | None
    hookName: str
    values: list[float]


class MadeVector(Told):
    message: Literal["Success"]
    url: str
    vector: NewVectorTold


class VectorTold(Told):
    """A vector of one's own, or a feature's direction; then it has no label."""

    modelId: str
    layer: str
    index: str
    vectorLabel: str | None
    hookName: str
    vector: list[float]
    vectorDefaultSteerStrength: float | None

    @classmethod
    def of(cls, vector: OwnVector, *, hook: str) -> "VectorTold":
        return cls(
            modelId=vector.model,
            layer=vector.source,
            index=vector.public_id,
            vectorLabel=vector.title,
            hookName=hook,
            vector=list(vector.direction),
            vectorDefaultSteerStrength=vector.default_strength,
        )


class OneVector(Told):
    vector: VectorTold


class OwnVectors(Told):
    vectors: list[VectorTold]


class LatentDecoder(Told):
    repo: str
    path: str
    index: int
    dtype: str
    num_latents: int
    d_model: int
    values: list[float]


# --- what is installed --------------------------------------------------------------------------------------------


class SourceTold(Told):
    id: str
    modelId: str
    setName: str
    hasDashboards: bool
    inferenceEnabled: bool
    visibility: Visibility
    saelensConfig: dict[str, object] | None
    saelensRelease: str | None
    saelensSaeId: str | None
    hfRepoId: str | None
    hfFolderId: str | None
    creatorId: str
    hasUmap: bool
    hasUmapLogSparsity: bool
    hasUmapClusters: bool
    num_prompts: int | None
    num_tokens_in_prompt: int | None
    dataset: str | None
    notes: str | None
    cosSimMatchModelId: str | None
    cosSimMatchSourceId: str | None
    defaultOfModelId: str | None
    createdAt: Moment


class SourceSetTold(Told):
    modelId: str
    name: str
    hasDashboards: bool
    allowInferenceSearch: bool
    visibility: Visibility
    description: str
    type: str
    creatorName: str
    urls: list[str]
    creatorEmail: str | None
    creatorId: str
    releaseName: str | None
    hasGraphs: bool
    graphEnabled: bool
    similarityMatrixEnabled: bool
    defaultOfModelId: str | None
    defaultGraphModelId: str | None
    defaultRange: int
    defaultShowBreaks: bool
    showDfa: bool
    showCorrelated: bool
    showHeadAttribution: bool
    showUmap: bool
    createdAt: Moment
    sources: list[SourceTold]


class ModelTold(Told):
    id: str
    displayNameShort: str
    displayName: str
    creatorId: str
    tlensId: str | None
    openRouterId: str | None
    dimension: int | None
    thinking: bool
    visibility: Visibility
    defaultSourceSetName: str | None
    defaultSourceId: str | None
    defaultGraphSourceSetName: str | None
    inferenceEnabled: bool
    instruct: bool
    layers: int
    neuronsPerLayer: int
    createdAt: Moment | None
    """When its first source set was installed."""
    owner: str
    updatedAt: Moment | None
    website: str | None


class ModelWithSets(ModelTold):
    sourceSets: list[SourceSetTold]


class Release(Told):
    name: str
    description: str
    descriptionShort: str | None
    visibility: Visibility
    featured: bool
    urls: list[str]
    creatorName: str
    creatorNameShort: str | None
    creatorEmail: str | None
    defaultSourceSetName: str | None
    defaultSourceId: str | None
    defaultUmapSourceIds: list[str]
    sourceSets: list[SourceSetTold]


class Kind(Told):
    """A kind of label or of score, or who makes them."""

    name: str
    displayName: str
    description: str
    featured: bool


class Everything(Told):
    models: list[ModelWithSets]
    explanationTypes: list[Kind]
    explanationModels: list[Kind]
    releases: list[Release]
    explanationScoreTypes: list[Kind]
    explanationScoreModelTypes: list[Kind]
