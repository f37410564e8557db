"""The engine's language: what one may ask of a device, and what it answers. No torch, so that the web may import it.

Every question is a frozen struct, answered by the struct of the same name with `Answer` behind it. The same structs
travel inside a process, over a Unix socket and over a network (`wire.py`), so an engine gives the same answers near
and far.

Units: an activation is the length that a feature adds along its unit decoder vector ("folded"). Positions count from
the first token of the prompt, BOS included; nothing is ever trimmed here. Arrays are numpy, little-endian, C order.
"""

from collections.abc import AsyncIterator
from typing import Any, Literal, Protocol

import msgspec
import numpy as np

VERSION = 1

Precision = Literal["auto", "float32"]


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plain frozen record."""


class Message(Struct, frozen=True, kw_only=True, tag=True):
    """A record that travels by itself: its type's name goes with it."""


# --- what questions are made of -----------------------------------------------------------------------------------


class Source(Struct, frozen=True, kw_only=True):
    """A dictionary as the engine finds it. `location` is `hf:owner/repo/folder@revision` or `dir:/absolute/folder`."""

    id: str
    location: str
    layer: int
    """The layer it is browsed under; of a multi-layer dictionary it says which layer's latents are meant."""


class Turn(Struct, frozen=True, kw_only=True):
    role: Literal["user", "model", "system"]
    content: str


class Prompt(Struct, frozen=True, kw_only=True):
    """Exactly one of text, turns and ids. Text and turns get exactly one BOS; ids are taken as they are."""

    text: str | None = None
    turns: tuple[Turn, ...] | None = None
    ids: tuple[int, ...] | None = None
    generation_prompt: bool = True
    """For turns: end with the header of the model's next turn."""


class Columns(Struct, frozen=True, kw_only=True):
    """Some features of one source."""

    source: Source
    indexes: tuple[int, ...]


class Splice(Struct, frozen=True, kw_only=True):
    """What to put in place of a source's write site: its reconstruction (without or with its skip) or the mean."""

    source: Source
    replace_by: Literal["reconstruction", "reconstruction_without_skip", "mean"]


# --- questions ----------------------------------------------------------------------------------------------------


class Capabilities(Message, frozen=True, kw_only=True):
    """What is loaded and how far loading is. Answered at once, also while the model is being loaded."""


class Tokenize(Message, frozen=True, kw_only=True):
    prompts: tuple[Prompt, ...]


class Activations(Message, frozen=True, kw_only=True):
    """The values of chosen features at every token."""

    prompts: tuple[Prompt, ...]
    columns: tuple[Columns, ...]
    precision: Precision = "auto"


class TopFeatures(Message, frozen=True, kw_only=True):
    """The k strongest features of each source at each token, with L0 and the share left unexplained."""

    prompts: tuple[Prompt, ...]
    sources: tuple[Source, ...]
    k: int
    precision: Precision = "auto"


class SparseActivations(Message, frozen=True, kw_only=True):
    """Everything that fires, of each source, at each token."""

    prompts: tuple[Prompt, ...]
    sources: tuple[Source, ...]
    precision: Precision = "auto"


class Pooled(Message, frozen=True, kw_only=True):
    """What fires in each prompt as a whole, of each source: one value per feature. `max` and `mean` pool over the
    tokens that dictionaries were trained on; `position` reads the token `from_end` (1 is the last), `user_turn` the
    last token that the user says in a chat."""

    prompts: tuple[Prompt, ...]
    sources: tuple[Source, ...]
    pooling: Literal["max", "mean", "position", "user_turn"] = "max"
    from_end: int = 1
    precision: Precision = "auto"


class NextTokens(Message, frozen=True, kw_only=True):
    """After each token, the k tokens that the model finds most likely."""

    prompts: tuple[Prompt, ...]
    k: int
    last_only: bool = False
    precision: Precision = "auto"


class Sites(Message, frozen=True, kw_only=True):
    """Raw activations. `sites` are written `resid_post.12`."""

    prompts: tuple[Prompt, ...]
    sites: tuple[str, ...]
    last_only: bool = False
    precision: Precision = "auto"


class Encode(Message, frozen=True, kw_only=True):
    """A source's features for vectors that the caller brings, one row each."""

    source: Source
    vectors: np.ndarray


class DecoderRows(Message, frozen=True, kw_only=True):
    """Directions of features: unit decoder rows, or encoder columns scaled to match (`side`)."""

    source: Source
    indexes: tuple[int, ...]
    side: Literal["decoder", "encoder"] = "decoder"


class Generate(Message, frozen=True, kw_only=True):
    """Continue a prompt. Streamed: one `GeneratedToken` per token. Temperature 0 takes the most likely token."""

    prompt: Prompt
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    top_logprobs: int = 0


class Score(Message, frozen=True, kw_only=True):
    """The loss of each next token, as the model is and with sources spliced in, all of them at once."""

    prompts: tuple[Prompt, ...]
    splices: tuple[Splice, ...] = ()
    precision: Precision = "auto"


class Ablate(Message, frozen=True, kw_only=True):
    """What the model would say next, as it is and with some features switched off: what they add at the sites that
    their source writes is taken away at every token where they fire. The values are those of the very pass that is
    changed, so features of several layers act on each other; positions that dictionaries were not trained on stay as
    they are."""

    prompt: Prompt
    columns: tuple[Columns, ...]
    k: int
    position: int | None = None
    """After which token; the last one by default."""
    precision: Precision = "auto"


class Gradient(Message, frozen=True, kw_only=True):
    """The gradient of one next-token logit (minus the mean logit) with respect to sites."""

    prompt: Prompt
    position: int
    token: int
    sites: tuple[str, ...]


class Embed(Message, frozen=True, kw_only=True):
    """Unit sentence vectors of labels and queries."""

    texts: tuple[str, ...]


class Lease(Message, frozen=True, kw_only=True):
    """Ask for the device between two batches. Held until `Release` or until `seconds` have passed; asked again with
    the same holder it is renewed. Requests of people wait meanwhile, so a holder asks for short times.

    With `free_memory` the engine also gives up its caches and its dictionaries' device memory."""

    holder: str
    seconds: float
    free_memory: bool = False


class Release(Message, frozen=True, kw_only=True):
    holder: str


class Nearest(Message, frozen=True, kw_only=True):
    """The k features of a source whose decoder rows have the greatest cosines with each vector, one row each."""

    source: Source
    vectors: np.ndarray
    k: int


# --- answers ------------------------------------------------------------------------------------------------------


class Provenance(Struct, frozen=True, kw_only=True):
    """On what a number was computed. It goes with every answer."""

    model: str
    checkpoint: str
    """sha256 of the weights."""
    origin: str
    dtype: str
    """Of the trunk; encoding is always float32."""
    device: str
    version: str


class Tokens(Struct, frozen=True, kw_only=True):
    ids: np.ndarray
    """int32 [T]"""
    pieces: tuple[str, ...]
    """As shown: joined they give the text back, special tokens literal. A character that spans several tokens stands
    at the first of them, the others being empty."""
    special: np.ndarray
    """bool [T]"""
    untrained: int
    """How many of the first positions lie outside what dictionaries were trained on (BOS; four in a chat)."""


class Loaded(Struct, frozen=True, kw_only=True):
    """A dictionary that the engine holds, and what its checks found."""

    source: Source
    kind: str
    width: int
    bytes_device: int
    bytes_host: int
    findings: tuple[str, ...] = ()


class CapabilitiesAnswer(Message, frozen=True, kw_only=True):
    version: int
    state: Literal["loading", "ready", "draining", "failed"]
    doing: str
    """In a sentence, what loading is at, or why it failed."""
    progress: float
    """0 to 1."""
    provenance: Provenance | None
    layers: int
    d_model: int
    vocabulary: int
    chat: bool
    max_prompt_tokens: int
    queue_length: int
    queue_limit: int
    device_bytes_used: int
    device_bytes_total: int
    loaded: tuple[Loaded, ...]


class TokenizeAnswer(Message, frozen=True, kw_only=True):
    prompts: tuple[Tokens, ...]


class PromptActivations(Struct, frozen=True, kw_only=True):
    tokens: Tokens
    values: tuple[np.ndarray, ...]
    """Per asked `Columns`: float32 [T, n]."""


class ActivationsAnswer(Message, frozen=True, kw_only=True):
    provenance: Provenance
    prompts: tuple[PromptActivations, ...]


class SourceTop(Struct, frozen=True, kw_only=True):
    indexes: np.ndarray
    """int32 [T, k], strongest first; -1 where fewer than k fire."""
    values: np.ndarray
    """float32 [T, k]"""
    active: np.ndarray
    """int32 [T]: how many features fire."""
    unexplained: np.ndarray
    """float32 [T]: squared error over squared distance of the target from the dictionary's bias (b_dec); NaN where
    the whole dictionary is needed for it and only some layers are loaded."""


class PromptTop(Struct, frozen=True, kw_only=True):
    tokens: Tokens
    sources: tuple[SourceTop, ...]


class TopFeaturesAnswer(Message, frozen=True, kw_only=True):
    provenance: Provenance
    prompts: tuple[PromptTop, ...]


class Sparse(Struct, frozen=True, kw_only=True):
    """Non-zero values in row order."""

    rows: np.ndarray
    """int32 [n]: token position (or vector number)"""
    indexes: np.ndarray
    """int32 [n]"""
    values: np.ndarray
    """float32 [n]"""


class PromptSparse(Struct, frozen=True, kw_only=True):
    tokens: Tokens
    sources: tuple[Sparse, ...]


class SparseActivationsAnswer(Message, frozen=True, kw_only=True):
    provenance: Provenance
    prompts: tuple[PromptSparse, ...]


class PooledFeatures(Struct, frozen=True, kw_only=True):
    """Features whose pooled value is not zero, by index."""

    indexes: np.ndarray
    """int32 [n]"""
    values: np.ndarray
    """float32 [n]"""
    positions: np.ndarray
    """int32 [n]: the token at which each is greatest"""


class PromptPooled(Struct, frozen=True, kw_only=True):
    tokens: int
    """Of the whole prompt, BOS included."""
    first: int
    """The first position that is counted."""
    counted: int
    """Over how many positions the values go."""
    sources: tuple[PooledFeatures, ...]


class PooledAnswer(Message, frozen=True, kw_only=True):
    provenance: Provenance
    prompts: tuple[PromptPooled, ...]


class PromptNext(Struct, frozen=True, kw_only=True):
    tokens: Tokens
    ids: np.ndarray
    """int32 [T, k], or [1, k] of the last position only"""
    probabilities: np.ndarray
    """float32, same shape"""
    pieces: tuple[tuple[str, ...], ...]


class NextTokensAnswer(Message, frozen=True, kw_only=True):
    provenance: Provenance
    prompts: tuple[PromptNext, ...]


class PromptSites(Struct, frozen=True, kw_only=True):
    tokens: Tokens
    values: tuple[np.ndarray, ...]
    """Per asked site: float32 [T, width], or [1, width] of the last position only."""


class SitesAnswer(Message, frozen=True, kw_only=True):
    provenance: Provenance
    prompts: tuple[PromptSites, ...]


class EncodeAnswer(Message, frozen=True, kw_only=True):
    provenance: Provenance
    features: Sparse


class DecoderRowsAnswer(Message, frozen=True, kw_only=True):
    provenance: Provenance
    rows: np.ndarray
    """float32 [n, d]. Decoder side of a multi-layer source: the concatenated causal decoder."""
    norms: np.ndarray
    """float32 [n]: the decoder norms on disk, by which activations were multiplied."""
    write_sites: tuple[str, ...]


class GeneratedToken(Message, frozen=True, kw_only=True):
    id: int
    piece: str
    """What this token adds to the text; empty until a split character is whole."""
    logprob: float
    top_ids: tuple[int, ...] = ()
    top_logprobs: tuple[float, ...] = ()
    finished: Literal["", "length", "stop"] = ""


class PromptScore(Struct, frozen=True, kw_only=True):
    tokens: Tokens
    clean: np.ndarray
    """float32 [T-1]: loss of token t+1 after token t, natural log."""
    spliced: np.ndarray | None


class ScoreAnswer(Message, frozen=True, kw_only=True):
    provenance: Provenance
    prompts: tuple[PromptScore, ...]


class AblateAnswer(Message, frozen=True, kw_only=True):
    provenance: Provenance
    tokens: Tokens
    ids: np.ndarray
    """int32 [n]: the k likeliest of each pass, likeliest first by the larger of its two probabilities."""
    pieces: tuple[str, ...]
    clean: np.ndarray
    """float32 [n]: their probabilities in the model as it is."""
    ablated: np.ndarray
    """float32 [n]: their probabilities with the features switched off."""
    clean_losses: np.ndarray
    """float32 [T-1]: loss of token t+1 after token t, natural log."""
    ablated_losses: np.ndarray
    removed: tuple[np.ndarray, ...]
    """Per asked `Columns`: float32 [T, n], the activations that were taken away."""


class GradientAnswer(Message, frozen=True, kw_only=True):
    provenance: Provenance
    tokens: Tokens
    logit: float
    values: tuple[np.ndarray, ...]


class EmbedAnswer(Message, frozen=True, kw_only=True):
    model: str
    vectors: np.ndarray
    """float32 [n, 384]"""


class LeaseAnswer(Message, frozen=True, kw_only=True):
    holder: str
    seconds: float


class ReleaseAnswer(Message, frozen=True, kw_only=True):
    pass


class NearestAnswer(Message, frozen=True, kw_only=True):
    provenance: Provenance
    indexes: np.ndarray
    """int32 [n, k], nearest first; fewer where the source has fewer features."""
    cosines: np.ndarray
    """float32, same shape. A feature whose decoder row is all zeros has 0 with everything."""


Request = (
    Capabilities | Tokenize | Activations | TopFeatures | SparseActivations | Pooled | NextTokens | Sites | Encode
    | DecoderRows | Nearest | Generate | Score | Ablate | Gradient | Embed | Lease | Release
)  # fmt: skip
Answer = (
    CapabilitiesAnswer | TokenizeAnswer | ActivationsAnswer | TopFeaturesAnswer | SparseActivationsAnswer
    | PooledAnswer | NextTokensAnswer | SitesAnswer | EncodeAnswer | DecoderRowsAnswer | GeneratedToken | ScoreAnswer
    | AblateAnswer | GradientAnswer | EmbedAnswer | LeaseAnswer | ReleaseAnswer | NearestAnswer
)  # fmt: skip


# --- when it does not work ----------------------------------------------------------------------------------------

FailureKind = Literal["bad_request", "too_long", "unknown", "busy", "unavailable", "out_of_memory", "internal"]

STATUS: dict[FailureKind, int] = {
    "bad_request": 400,
    "too_long": 413,
    "unknown": 404,
    "busy": 429,
    "unavailable": 503,
    "out_of_memory": 503,
    "internal": 500,
}


class Failure(Message, frozen=True, kw_only=True):
    """Why there is no answer, in a sentence for the person who asked."""

    kind: FailureKind
    sentence: str
    retry_after: float | None = None
    """Seconds after which asking again may work."""


class EngineError(Exception):
    """A `Failure`, raised. `kind` chooses the HTTP status on every wire."""

    def __init__(self, kind: FailureKind, sentence: str, *, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.failure = Failure(kind=kind, sentence=sentence, retry_after=retry_after)


class Engine(Protocol):
    """What both the real engine and its client are."""

    async def ask(self, request: Any, /) -> Any:
        """One question, one answer of the matching type. Cancelling the task gives its place up."""
        ...

    def generate(self, request: Generate, /) -> AsyncIterator[GeneratedToken]:
        """Tokens as they come. Closing the iterator stops at the next token."""
        ...
