"""What the routes of things made are asked. Numbers and texts are what JSON says; only an index comes as either."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.store.shelves import Named


def _storable(text: str) -> str:
    """The database holds neither."""
    if "\0" in text:
        raise PydanticCustomError("wrong", "No text holds a NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("wrong", "A text cannot hold half a character (a lone surrogate).") from None
    return text


Storable = AfterValidator(_storable)
Name = Annotated[str, Field(min_length=1, max_length=200), Storable]
Text = Annotated[str, Field(max_length=20_000), Storable]
Index = Annotated[str, Field(min_length=1, max_length=40), Storable] | Annotated[int, Field(ge=0, lt=10**9)]


class Asked(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class FeatureAsked(Asked):
    """A feature; of a vector of one's own, `layer` and `index` are what its own answers say."""

    modelId: Name
    layer: Name
    index: Index

    def named(self, note: str | None = None) -> Named:
        return Named(model=self.modelId, source=self.layer, index=str(self.index), note=note or "")


class NotedFeature(FeatureAsked):
    description: Text | None = None


class SourceFeatureAsked(Asked):
    """The same, where the source is called one."""

    modelId: Name
    source: Name
    index: Index


class ListAsked(Asked):
    listId: Name


class NewList(Asked):
    name: Text
    description: Text | None = None
    testText: Text | None = None


class NewListWithFeatures(NewList):
    features: Annotated[list[NotedFeature], Field(max_length=2_000)]


class FeaturesToAdd(ListAsked):
    featuresToAdd: Annotated[list[NotedFeature], Field(min_length=1, max_length=100)]


class ListFeature(FeatureAsked):
    listId: Name


class NotedListFeature(ListFeature):
    description: Text | None = None


class ListChange(ListAsked):
    """What is left out stays."""

    name: Text | None = None
    description: Text | None = None
    defaultTestText: Text | None = None


class NewVector(Asked):
    modelId: Name
    layerNumber: Annotated[int, Field(ge=0, lt=1_000)]
    hookType: Annotated[
        str,
        Field(
            max_length=40,
            description="hook_resid_pre or hook_resid_post; hook_mlp_in, hook_mlp_out and attn.hook_z are taken too.",
        ),
    ]
    vector: Annotated[list[float], Field(min_length=1, max_length=24_576)]
    vectorDefaultSteerStrength: float | None = 10
    vectorLabel: Text


class ModelAsked(Asked):
    id: Name
