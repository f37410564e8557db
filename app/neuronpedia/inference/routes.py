"""`/v1/…`: which questions the engine gets for each route. What is made of its answers is `numbers`, by `rules`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.neuronpedia.inference import chat, dialect, hooks, numbers, questions, tellings
from app.neuronpedia.inference.rules import RULES
from app.neuronpedia.inference.served import Served, feature_number, served, set_of
from app.web import errors
from app.web.house import house_of
from app.web.patience import Gone, while_waited_for
from inference.engine.protocol import (
    Activations,
    ActivationsAnswer,
    CapabilitiesAnswer,
    Columns,
    DecoderRows,
    DecoderRowsAnswer,
    EngineError,
    Nearest,
    NearestAnswer,
    Prompt,
    Sites,
    SitesAnswer,
    SparseActivations,
    SparseActivationsAnswer,
    Tokenize,
    TokenizeAnswer,
    Tokens,
)
from inference.errors import BadInput, GemlensError

MOST_NUMBERS = 2_000_000
"""In one answer. Texts are bounded by the body's size and the engine, their product with features is bounded here."""
MOST_RESULTS = 1000
MOST_COSINES = 128
RESULTS = 25
TOP = 5

Answer = TypeVar("Answer", bound=dialect.Told)
Handler = Callable[..., Awaitable[Response]]

router = APIRouter(prefix="/v1", tags=["inference wire"])


def post(path: str, shape: type) -> Callable[[Handler], Handler]:
    """Below /v1, with and without a slash at the end."""

    def register(handler: Handler) -> Handler:
        router.post(path, response_model=shape)(handler)
        router.post(f"{path}/", include_in_schema=False)(handler)
        return handler

    return register


async def answered(request: Request, work: Awaitable[dialect.Told]) -> Response:
    """The answer in the client's dialect; no work is done for a client that has gone."""
    try:
        return dialect.response(request, await while_waited_for(request, work))
    except Gone:
        return Response(status_code=499)


# --- tokens -------------------------------------------------------------------------------------------------------


@post("/tokenize", tellings.Tokenized)
async def tokenize(request: Request, asked: questions.TokenizeAsked) -> Response:
    """A text's tokens. Without `prependBos` a BOS that the text spells out stays."""
    engine = served(house_of(request), asked.model).engine

    async def work() -> dialect.Told:
        answer: TokenizeAnswer = await engine.ask(Tokenize(prompts=(Prompt(text=asked.text),)))
        (tokens,) = answer.prompts
        prepended = asked.prepend_bos is not False
        kept = slice(None) if prepended or asked.text.startswith(tokens.pieces[0]) else slice(1, None)
        return tellings.Tokenized.model_construct(
            tokens=tokens.ids[kept].tolist(), token_strings=list(tokens.pieces[kept]), prepend_bos=prepended
        )

    return await answered(request, work())


@post("/apply-chat-template", tellings.Chat)
async def apply_chat_template(request: Request, asked: questions.ChatAsked) -> Response:
    """A conversation as Gemma reads it, and which message each token belongs to."""
    engine = served(house_of(request), asked.model).engine
    prompt = Prompt(turns=chat.turns(asked.messages), generation_prompt=asked.add_generation_prompt)

    async def work() -> dialect.Told:
        answer: TokenizeAnswer = await engine.ask(Tokenize(prompts=(prompt,)))
        (tokens,) = answer.prompts
        parts = chat.segments(asked.messages, generation_prompt=asked.add_generation_prompt)
        return tellings.Chat.model_construct(
            prompt="".join(tokens.pieces),
            tokens=tokens.ids.tolist(),
            spans=chat.spans(tokens, parts, first_role=asked.messages[0].role),
        )

    return await answered(request, work())


# --- activations --------------------------------------------------------------------------------------------------


@post("/activation/single", tellings.Single)
async def single(request: Request, asked: questions.SingleAsked) -> Response:
    """One feature, or a vector of one's own, over a text."""

    async def work() -> dialect.Told:
        return (await _singles(served(house_of(request), asked.model), asked, [asked.prompt]))[0]

    return await answered(request, work())


@post("/activation/single-batch", tellings.SingleBatch)
async def single_batch(request: Request, asked: questions.SingleBatchAsked) -> Response:
    """One feature, or a vector of one's own, over several texts."""

    async def work() -> dialect.Told:
        results = await _singles(served(house_of(request), asked.model), asked, asked.prompts)
        return tellings.SingleBatch.model_construct(results=results)

    return await answered(request, work())


async def _singles(
    here: Served, asked: questions.SingleAsked | questions.SingleBatchAsked, texts: list[str]
) -> list[tellings.Single]:
    prompts = _prompts(texts)
    if asked.source is not None and asked.index is not None and asked.vector is None and asked.hook is None:
        index = feature_number(asked.index)
        source = (await here.source(asked.source, index=index)).source
        columns = (Columns(source=source, indexes=(index,)),)
        answer: ActivationsAnswer = await here.engine.ask(Activations(prompts=prompts, columns=columns))
        return [numbers.single(prompt.tokens, prompt.values[0][:, 0]) for prompt in answer.prompts]
    if asked.vector is not None and asked.hook is not None and asked.source is None and asked.index is None:
        site = hooks.site_of(asked.hook)
        read: SitesAnswer = await here.engine.ask(Sites(prompts=prompts, sites=(site,)))
        vector = np.array(asked.vector)
        return [
            numbers.single(prompt.tokens, _product(prompt.values[0], vector, site), route="activation/single, vector")
            for prompt in read.prompts
        ]
    raise BadInput(
        "Invalid request data: exactly one of layer/index or vector must be provided: either source and index, or "
        "vector and hook."
    )


def _product(values: np.ndarray, vector: np.ndarray, site: str) -> np.ndarray:
    if len(vector) != values.shape[1]:
        raise BadInput(f"{site} has {values.shape[1]} numbers, and the vector has {len(vector)}.")
    with np.errstate(over="ignore", invalid="ignore"):
        result: np.ndarray = values.astype(np.float64) @ vector
    if not np.isfinite(result).all():
        raise BadInput("The vector's numbers are so large that its product with the activations is not finite.")
    return result


@post("/activation/all", tellings.All)
async def all_(request: Request, asked: questions.AllAsked) -> Response:
    """The strongest features of a source set over a text."""

    async def work() -> dialect.Told:
        return (await _alls(served(house_of(request), asked.model), asked, [asked.prompt]))[0]

    return await answered(request, work())


@post("/activation/all-batch", tellings.AllBatch)
async def all_batch(request: Request, asked: questions.AllBatchAsked) -> Response:
    """The strongest features of a source set over several texts, of each by itself."""

    async def work() -> dialect.Told:
        results = await _alls(served(house_of(request), asked.model), asked, asked.prompts)
        return tellings.AllBatch.model_construct(results=results)

    return await answered(request, work())


async def _alls(
    here: Served, asked: questions.AllAsked | questions.AllBatchAsked, texts: list[str]
) -> list[tellings.All]:
    members = await here.sources_of(asked.source_set, asked.selected_sources)
    count = min(RESULTS if asked.num_results is None else asked.num_results, MOST_RESULTS)
    count = min(count, sum(one.width for one in members))
    answer = await _sparse(here, texts, tuple(one.source for one in members))
    _check_size(count * sum(len(prompt.tokens.ids) for prompt in answer.prompts))
    rule = RULES["activation/all"]

    def told() -> list[tellings.All]:
        results = []
        for prompt in answer.prompts:
            ranked = numbers.strongest(
                prompt.sources,
                widths=[one.width for one in members],
                length=len(prompt.tokens.ids),
                count=count,
                sort_positions=_positions(asked.sort_by_token_indexes, prompt.tokens),
                mute_first=rule.mutes_first(ignore_bos=asked.ignore_bos),
            )
            results.append(numbers.all_features(prompt.tokens, [one.id for one in members], ranked))
        return results

    return await asyncio.to_thread(told)


def _positions(positions: list[int], tokens: Tokens) -> list[int]:
    wrong = next((position for position in positions if position >= len(tokens.ids)), None)
    if wrong is not None:
        raise BadInput(f"There is no token {wrong} to sort by: the text has tokens 0 to {len(tokens.ids) - 1}.")
    return positions


@post("/activation/topk-by-token", tellings.TopK)
async def topk_by_token(request: Request, asked: questions.TopKAsked) -> Response:
    """The strongest features of a source at each token."""

    async def work() -> dialect.Told:
        return (await _tops(served(house_of(request), asked.model), asked, [asked.prompt]))[0]

    return await answered(request, work())


@post("/activation/topk-by-token-batch", tellings.TopKBatch)
async def topk_by_token_batch(request: Request, asked: questions.TopKBatchAsked) -> Response:
    """The strongest features of a source at each token of several texts."""

    async def work() -> dialect.Told:
        results = await _tops(served(house_of(request), asked.model), asked, asked.prompts)
        return tellings.TopKBatch.model_construct(results=results)

    return await answered(request, work())


async def _tops(
    here: Served, asked: questions.TopKAsked | questions.TopKBatchAsked, texts: list[str]
) -> list[tellings.TopK]:
    source = await here.source(asked.source)
    limit = here.house.settings.max_top_features
    k = min(TOP if asked.top_k is None else asked.top_k, source.width)
    if k > limit:
        raise BadInput(f"topK is {asked.top_k}; it goes from 1 to {limit} here.")
    answer = await _sparse(here, texts, (source.source,))
    _check_size(2 * k * sum(len(prompt.tokens.ids) for prompt in answer.prompts))

    def told() -> list[tellings.TopK]:
        return [
            numbers.top_by_token(prompt.tokens, prompt.sources[0], k=k, ignore_bos=asked.ignore_bos)
            for prompt in answer.prompts
        ]

    return await asyncio.to_thread(told)


@post("/activation/source", tellings.Source)
async def source(request: Request, asked: questions.SourceAsked) -> Response:
    """Everything that fires of a source over some texts."""
    here = served(house_of(request), asked.model)

    async def work() -> dialect.Told:
        found = await here.source(asked.source)
        answer = await _sparse(here, asked.prompts, (found.source,))
        _check_size(2 * sum(len(prompt.sources[0].rows) for prompt in answer.prompts))
        results = await asyncio.to_thread(
            lambda: [numbers.active(prompt.tokens, prompt.sources[0]) for prompt in answer.prompts]
        )
        return tellings.Source.model_construct(results=results)

    return await answered(request, work())


@post("/activation/raw", tellings.Raw)
async def raw(request: Request, asked: questions.RawAsked) -> Response:
    """What the model holds at the last token of some texts: at each layer's end, or at another site."""
    here = served(house_of(request), asked.model)
    site = {"residual_stream": "resid_post"}.get(asked.hook_point, asked.hook_point)
    if site not in ("resid_post", "attn_out", "mlp_in", "mlp_out"):
        raise BadInput(
            f"{asked.hook_point!r} is no hookPoint; residual_stream (resid_post), attn_out, mlp_in and mlp_out are."
        )
    if asked.type != "final_output_token":
        raise BadInput(f"{asked.type!r} is no type; final_output_token is the only one.")

    async def work() -> dialect.Told:
        said = await here.ready()
        layers = sorted(set(range(said.layers) if asked.layers is None else asked.layers))
        _check_size(len(asked.prompts) * len(layers) * said.d_model)
        asking = Sites(
            prompts=_prompts(asked.prompts), sites=tuple(f"{site}.{layer}" for layer in layers), last_only=True
        )
        answer: SitesAnswer = await here.engine.ask(asking)
        rule, dtype = RULES["activation/raw"], answer.provenance.dtype
        results = [
            tellings.RawPrompt.model_construct(
                token_strings=list(prompt.tokens.pieces),
                token_ids=prompt.tokens.ids.tolist(),
                activations=[
                    tellings.LayerActivations.model_construct(
                        layer=layer,
                        token_indices=[len(prompt.tokens.ids) - 1],
                        values=rule.rounded(values, dtype=dtype).tolist(),
                    )
                    for layer, values in zip(layers, prompt.values, strict=True)
                ],
            )
            for prompt in answer.prompts
        ]
        return tellings.Raw.model_construct(
            hook_point=asked.hook_point,
            type=asked.type,
            dtype=dtype,
            device=answer.provenance.device,
            results=results,
        )

    return await answered(request, work())


# --- directions ---------------------------------------------------------------------------------------------------


@post("/util/sae-vector", tellings.Direction)
async def sae_vector(request: Request, asked: questions.VectorAsked) -> Response:
    """What a feature looks for, at the site that its dictionary reads: with it, `activation/single` by vector and hook
    gives the feature's values, but for bias and threshold."""
    here = served(house_of(request), asked.model)

    async def work() -> dialect.Told:
        found = await here.source(asked.source, index=asked.index)
        asking = DecoderRows(source=found.source, indexes=(asked.index,), side="encoder")
        answer: DecoderRowsAnswer = await here.engine.ask(asking)
        site = hooks.read_site(found.kind, layer=found.source.layer, write_sites=answer.write_sites)
        return tellings.Direction.model_construct(
            vector=answer.rows[0].astype(np.float64).tolist(), hookName=hooks.hook_of(site)
        )

    return await answered(request, work())


@post("/util/sae-topk-by-decoder-cossim", tellings.Cossim)
async def sae_topk_by_decoder_cossim(request: Request, asked: questions.CossimAsked) -> Response:
    """The features of a source that write in a feature's, or a vector's, direction."""
    house = house_of(request)
    here = served(house, asked.model)
    if (asked.feature is None) == (asked.vector is None):
        raise BadInput("Give exactly one of feature and vector.")

    async def work() -> dialect.Told:
        target = await here.source(asked.source)
        feature = None
        if asked.feature is not None:
            there = served(house, asked.feature.model)
            own = await there.source(asked.feature.source, index=asked.feature.index)
            asking = DecoderRows(source=own.source, indexes=(asked.feature.index,))
            rows: DecoderRowsAnswer = await there.engine.ask(asking)
            vectors = rows.rows
            if not vectors.any():
                raise BadInput(f"Feature {asked.feature.index} of {own.id} has a decoder row of zeros: no direction.")
            feature = _named(there.model, own.id, asked.feature.index)
        else:
            vectors = np.array([asked.vector], np.float64)
        count = min(max(asked.num_results, 1), MOST_COSINES)
        found: NearestAnswer = await here.engine.ask(Nearest(source=target.source, vectors=vectors, k=count))
        near = zip(found.indexes[0].tolist(), found.cosines[0].astype(np.float64).tolist(), strict=True)
        return tellings.Cossim.model_construct(
            feature=feature,
            topk_decoder_cossim_features=[
                tellings.Near.model_construct(feature=_named(here.model, target.id, index), cosine_similarity=cosine)
                for index, cosine in near
            ],
        )

    return await answered(request, work())


def _named(model: str, source: str, index: int) -> tellings.FeatureName:
    return tellings.FeatureName.model_construct(model=model, source=source, index=index)


# --- the server itself --------------------------------------------------------------------------------------------

LATER = ("activation_attention", "dfa", "steer_completion", "steer_completion_chat", "lens_logit", "lens_jacobian")
HERE = ("tokenize", "activation_single", "activation_all", "activation_source", "activation_raw",
        "activation_topk_by_token")  # fmt: skip


@router.get("/capabilities", response_model=tellings.Capabilities)
@router.get("/capabilities/", include_in_schema=False)
async def capabilities(request: Request, model: str | None = None) -> Response:
    """What a model's engine can do and how much it takes."""
    house = house_of(request)
    here = served(house, model)
    said = await here.ready()
    assert said.provenance is not None
    installed = await house.catalogue.sources(here.model)
    told = tellings.Capabilities(
        model=here.model,
        backend="eager",
        device=said.provenance.device,
        max_concurrent_requests=said.queue_limit,
        max_tokens=said.max_prompt_tokens,
        token_limit=said.max_prompt_tokens,
        lens_token_limit=0,
        activation_token_limit=said.max_prompt_tokens,
        vram_budget_bytes=said.device_bytes_total,
        vram_budget_available_bytes=max(0, said.device_bytes_total - said.device_bytes_used),
        sae_cache=_cache(said, len(installed)),
        max_num_results=MOST_RESULTS,
        capture_points=list(hooks.CAPTURE_POINTS),
        grad_support={},
        hooks_available=True,
        graph_replay=False,
        static_points=[],
        static_writes=[],
        frozen_points=[],
        writes_available=[],
        generation_only=False,
        num_layers=said.layers,
        sae_sets=sorted({set_of(one.id) for one in installed}),
        endpoints={name: name in HERE for name in (*HERE, *LATER, "neurons")},
    )
    return dialect.as_json(told.model_dump_json().encode())


def _cache(said: CapabilitiesAnswer, installed: int) -> dict[str, Any]:
    return {
        "enabled": True,
        "budget_bytes": None,
        "resident_bytes": sum(one.bytes_device for one in said.loaded),
        "resident_count": sum(one.bytes_device > 0 for one in said.loaded),
        "registered_count": installed,
        "host_bytes": sum(one.bytes_host for one in said.loaded),
        "pinned_bytes": 0,
        "hits": None,
        "misses": None,
        "evictions": None,
    }


at_the_root = APIRouter(tags=["inference wire"])


@at_the_root.get("/health", response_model=tellings.Health)
@at_the_root.get("/health/", include_in_schema=False)
@router.get("/health", include_in_schema=False)
@router.get("/health/", include_in_schema=False)
async def health(request: Request) -> Response:
    """200 once the model is loaded, 503 before."""
    try:
        await served(house_of(request), None).ready()
    except (EngineError, GemlensError) as error:
        problem = errors.problem_of(error)
        return JSONResponse(errors.body(problem), status_code=problem.status)
    return JSONResponse({"status": "healthy"})


# --- shared -------------------------------------------------------------------------------------------------------


def _prompts(texts: list[str]) -> tuple[Prompt, ...]:
    return tuple(Prompt(text=text) for text in texts)


async def _sparse(here: Served, texts: list[str], sources: Any) -> SparseActivationsAnswer:
    answer: SparseActivationsAnswer = await here.engine.ask(SparseActivations(prompts=_prompts(texts), sources=sources))
    return answer


def _check_size(count: int) -> None:
    if count > MOST_NUMBERS:
        raise EngineError(
            "too_long",
            f"The answer would have {count:,} numbers, and {MOST_NUMBERS:,} is the most that is sent at once. Ask for "
            "fewer texts or results.",
        )
