"""Answers of the web API, field by field: what the OpenAPI document says, and what tests hold the answers to.

Answers are not made from these (`writing.py` is quicker), so that a feature's ten thousand numbers are not looked at
one by one. Fields of Neuronpedia's that nothing here fills are null, or empty lists, always.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Told(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Model(Told):
    id: str
    displayName: str
    displayNameShort: str
    creatorId: str
    owner: str
    layers: int
    neuronsPerLayer: int
    dimension: int | None
    instruct: bool
    thinking: bool
    inferenceEnabled: bool
    visibility: str
    website: str | None


class Source(Told):
    id: str
    modelId: str
    setName: str
    creatorId: str
    visibility: str
    hasDashboards: bool
    inferenceEnabled: bool
    hfRepoId: str | None
    hfFolderId: str | None
    dataset: str | None
    num_prompts: int | None
    num_tokens_in_prompt: int | None
    notes: str | None


class SourceSet(Told):
    modelId: str
    name: str
    description: str
    type: str
    creatorId: str
    creatorName: str
    releaseName: str | None
    urls: list[str]
    visibility: str
    hasDashboards: bool
    allowInferenceSearch: bool


class Activation(Told):
    """A feature on one passage. `binMin` -1 marks the examples of greatest activation; the others were drawn from the
    interval between `binMin` and `binMax`, which holds the share `binContains` of all firings."""

    id: str
    tokens: list[str]
    dataIndex: str | None
    index: str
    layer: str
    source: str
    modelId: str
    dataSource: str | None
    maxValue: float
    maxValueTokenIndex: int
    minValue: float
    values: list[float]
    dfaValues: list[float]
    dfaTargetIndex: int | None
    dfaMaxValue: float | None
    zQIndices: list[int]
    zKIndices: list[int]
    zValues: list[float]
    creatorId: str
    createdAt: str | None
    lossValues: list[float]
    logitContributions: str | None
    binMin: float
    binMax: float
    binContains: float | None
    qualifyingTokenIndex: int | None


class Score(Told):
    id: str
    initiatedByUserId: str
    value: float
    explanationId: str
    explanationScoreTypeName: str
    explanationScoreModelName: str
    jsonDetails: str


class TriggeredBy(Told):
    id: str
    name: str


class Explanation(Told):
    id: str
    modelId: str
    layer: str
    source: str
    index: str
    description: str
    explanationModelName: str | None
    typeName: str
    authorId: str
    createdAt: str
    scores: list[Score]
    triggeredByUser: TriggeredBy | None


class Neuron(Told):
    modelId: str
    layer: str
    index: str
    sourceSetName: str | None
    creatorId: str | None
    createdAt: str | None
    """When the harvest that it was found in ended."""
    maxActApprox: float
    hasVector: bool
    vector: list[float]
    vectorLabel: str | None
    vectorDefaultSteerStrength: float | None
    hookName: str | None
    topkCosSimIndices: list[int]
    topkCosSimValues: list[float]
    neuron_alignment_indices: list[int]
    neuron_alignment_values: list[float]
    neuron_alignment_l1: list[float]
    correlated_neurons_indices: list[int]
    correlated_neurons_pearson: list[float]
    correlated_neurons_l1: list[float]
    correlated_features_indices: list[int]
    correlated_features_pearson: list[float]
    correlated_features_l1: list[float]
    neg_str: list[str]
    neg_values: list[float]
    pos_str: list[str]
    pos_values: list[float]
    frac_nonzero: float
    freq_hist_data_bar_heights: list[int]
    freq_hist_data_bar_values: list[float]
    logits_hist_data_bar_heights: list[int]
    logits_hist_data_bar_values: list[float]
    decoder_weights_dist: list[float]
    umap_cluster: int | None
    umap_log_feature_sparsity: float | None
    umap_x: float | None
    umap_y: float | None


class Creator(Told):
    name: str


class InList(Told):
    id: str
    name: str
    description: str
    createdAt: str


class Listed(Told):
    modelId: str
    layer: str
    index: str
    listId: str
    description: str | None
    addedAt: str
    list: InList


class FullNeuron(Neuron):
    """Everything of one feature."""

    model: Model
    lists: list[Listed]
    creator: Creator | None
    source: Source | None
    """Null for a vector of somebody's own, as `sourceSet`."""
    sourceSet: SourceSet | None
    comments: list[Any]
    activations: list[Activation]
    """Greatest first."""
    explanations: list[Explanation]
    """The one that stands for the feature first."""


class NeuronInBatch(Neuron):
    explanations: list[Explanation]
    activations: list[Activation]


class NeuronInSearch(NeuronInBatch):
    """With at most one activation."""

    model: Model


class NeuronInSource(NeuronInSearch):
    sourceSet: SourceSet


class NeuronNamed(Neuron):
    """With the explanation that stands for it, if there is one."""

    explanations: list[Explanation]


class OverText(Told):
    tokens: list[str]
    values: list[float]
    maxValue: float
    minValue: float
    maxValueTokenIndex: int
    modelId: str
    layer: str
    index: str
    creatorId: str
    dataIndex: str | None
    dataSource: str
    createdAt: str


class ActiveOverText(Told):
    tokens: list[str]
    activeFeatures: dict[str, list[tuple[int, float]]]
    """By feature: position and value, wherever it fires but on BOS."""


class SourceOverTexts(Told):
    results: list[ActiveOverText]


class FoundFeature(Told):
    modelId: str
    layer: str
    index: str
    values: list[float]
    maxValue: float
    maxValueIndex: int
    neuron: NeuronInSearch | None
    """Null where nothing but the dictionary is known of it."""


class Search(Told):
    tokens: list[str]
    result: list[FoundFeature]
    sortIndexes: list[int]


class Searches(Told):
    results: list[Search]


class TopFeature(Told):
    activationValue: float
    featureIndex: int
    feature: NeuronNamed | None = None
    """Left out where several texts were given."""


class TokenTop(Told):
    position: int
    """In the text, BOS being 0."""
    token: str
    isSpecial: bool
    topFeatures: list[TopFeature]


class TopK(Told):
    source: str
    results: list[TokenTop]


class TopKs(Told):
    results: list[TopK]


class FoundExplanation(Told):
    modelId: str
    layer: str
    index: str
    description: str
    explanationModelName: str | None
    typeName: str
    cosine_similarity: float
    neuron: NeuronInBatch
    """With at most three activations."""


class Explanations(Told):
    request: dict[str, Any]
    results: list[FoundExplanation]
    resultsCount: int
    hasMore: bool
    nextOffset: int | None


class FeatureName(Told):
    model: str
    source: str
    index: int


class Near(Told):
    cosineSimilarity: float
    feature: FeatureName


class Cossim(Told):
    feature: FeatureName
    topkDecoderCossimFeatures: list[Near]


class Tokenized(Told):
    tokens: list[int]
    tokenStrings: list[str]
    prependBos: bool


class Failed(Told):
    """Every refusal."""

    error: str
    """A short code."""
    message: str
    """A sentence for a person."""
    retry_after: float | None = None
    log_id: str | None = None
