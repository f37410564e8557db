"""Requests of the web API, field by field.

Names may be written in snake_case too. What Neuronpedia calls `layer` here and `source` there is one thing and takes
both names everywhere; a feature's index is taken as a number and as text, 0 included.
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, RootModel, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.neuronpedia.inference.dialect import Asked

MOST_TEXTS = 256
MOST_FEATURES = 10_000
LONGEST_INDEX = 9
"""Digits."""
_VECTOR = re.compile(r"[\w-]{8,40}", re.ASCII)
PROMPT_CHARACTERS = 10_000
QUERY_CHARACTERS = 1_000
LEAST_QUERY = 3
LAST_OFFSET = 10_000


def _wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", sentence)


def _name(text: str) -> str:
    if "\0" in text:
        raise _wrong("No name holds a NUL character.")
    return text


def _number(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**LONGEST_INDEX:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= LONGEST_INDEX:
        return int(value)
    raise _wrong("A feature's index is a whole number from 0 on, or its digits as text.")


def _number_or_id(value: Any) -> int | str:
    return value if isinstance(value, str) and _VECTOR.fullmatch(value) and not value.isdigit() else _number(value)


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        _text(value)
    elif not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _wrong("This is a text, or a list of texts.")
    elif not 1 <= len(value) <= MOST_TEXTS:
        raise _wrong(f"A list of texts has 1 to {MOST_TEXTS} of them.")
    else:
        for one in value:
            _text(one)
    return value


def _text(value: str) -> None:
    if not value.strip():
        raise _wrong("A text with nothing in it cannot be read.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _wrong("A text cannot hold half a character (a lone surrogate).") from None


def _threshold(value: float) -> float:
    """0 is taken for no threshold, as -1 is."""
    if value in (-1, 0) or 0 < value < 1:
        return value
    raise _wrong("A density is a share between 0 and 1; -1 or 0 means that there is no threshold.")


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_name)]
Index = Annotated[
    int,
    BeforeValidator(_number),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^[0-9]{{1,{LONGEST_INDEX}}}$"},
                {"type": "integer", "minimum": 0, "maximum": 10**LONGEST_INDEX - 1},
            ]
        }
    ),
]
IndexOrId = Annotated[
    int | str,
    BeforeValidator(_number_or_id),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^[0-9]{{1,{LONGEST_INDEX}}}$|^[A-Za-z0-9_-]{{8,40}}$"},
                {"type": "integer", "minimum": 0, "maximum": 10**LONGEST_INDEX - 1},
            ]
        }
    ),
]
"""A feature's number, or the id of a vector of somebody's own."""
Texts = Annotated[
    str | list[str],
    BeforeValidator(_texts),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1},
                    "minItems": 1,
                    "maxItems": MOST_TEXTS,
                },
            ]
        }
    ),
]
Position = Annotated[int, Field(ge=0, le=2**31 - 1)]
Density = Annotated[float, AfterValidator(_threshold), Field(ge=-1, lt=1)]
Offset = Annotated[int, Field(ge=0, le=LAST_OFFSET)]
Query = Annotated[str, Field(min_length=LEAST_QUERY, max_length=QUERY_CHARACTERS)]
LAYER = AliasChoices("layer", "source", "sourceId", "source_id")


class FeatureAsked(Asked):
    model_id: Name
    layer: Name = Field(validation_alias=LAYER)
    """The source's id, also taken as `source`."""
    index: Index


class FeatureOrVectorAsked(Asked):
    model_id: Name
    layer: Name = Field(validation_alias=LAYER)
    """The source's id, also taken as `source`; `12-vectors-resid-post` for vectors of people's own."""
    index: IndexOrId


class BatchElement(FeatureAsked):
    max_acts_to_return: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """Of this feature; left out, all of them."""


class FeaturesAsked(RootModel[Annotated[list[BatchElement], Field(max_length=MOST_FEATURES)]]):
    """Some features, of any models and sources."""


class OffsetAsked(Asked):
    model_id: Name
    layer: Name = Field(validation_alias=LAYER)
    offset: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class TextAsked(Asked):
    """A feature over a text, or over several."""

    feature: FeatureOrVectorAsked = Field(validation_alias=AliasChoices("feature", "neuron"))
    """Also taken as `neuron`."""
    custom_text: Texts
    ignore_bos: bool = True
    """False keeps BOS as the first token; its value is 0, because dictionaries are not trained on it."""


class SourceAsked(Asked):
    """Everything that fires of a source over a text, or over several."""

    model_id: Name
    layer: Name = Field(validation_alias=AliasChoices("source", "layer", "sourceId", "source_id"))
    custom_text: Texts


class SearchAsked(Asked):
    """The features of a source set that fire most on a text."""

    model_id: Name
    source_set: Name
    text: Texts
    selected_layers: Annotated[list[Name], Field(max_length=1000)] = Field(default_factory=list)
    """Source ids; empty: the whole set."""
    sort_indexes: Annotated[list[Position], Field(max_length=10_000)] = Field(default_factory=list)
    """Positions whose values are added up to sort by, BOS being 0; empty: by the greatest value anywhere."""
    ignore_bos: bool = True
    density_threshold: Density = -1
    num_results: Annotated[int, Field(ge=1, le=100)] = 50


class TopKAsked(Asked):
    """The features of a source that fire most at each token of a text."""

    model_id: Name
    layer: Name = Field(validation_alias=AliasChoices("source", "layer", "sourceId", "source_id"))
    text: Texts
    num_results: Annotated[int, Field(ge=1, le=20)] = 10
    ignore_bos: bool = True
    density_threshold: Density = 0.01


class ExplanationsAsked(Asked):
    """Labels near a query in meaning."""

    query: Query
    offset: Offset = 0


class InLayersAsked(ExplanationsAsked):
    model_id: Name
    layers: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    """Source ids."""


class InModelAsked(ExplanationsAsked):
    model_id: Name


class InReleaseAsked(ExplanationsAsked):
    release_name: Name


class CossimAsked(FeatureAsked):
    target_model_id: Name
    target_source_id: Name


class TokenizeAsked(Asked):
    prompt: Annotated[str, Field(max_length=PROMPT_CHARACTERS)]
    model_id: Name
    prepend_bos: bool = True
