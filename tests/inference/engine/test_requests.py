"""What cannot be answered is refused with a sentence that says what would be right."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.engine.protocol import (
    Activations,
    Columns,
    DecoderRows,
    Embed,
    Encode,
    EngineError,
    Lease,
    NextTokens,
    Prompt,
    Sites,
    Source,
    Tokenize,
    TopFeatures,
    Turn,
)
from inference.gemma.model import Gemma
from tests.inference.engine.engines import Started, prompts, source, started
from tests.tiny_dictionaries import tiny_tensors, write_single

SAE = "resid_post/layer_2_width_96_l0_medium"


async def refusal(running: Started, request: Any) -> tuple[str, str]:
    with pytest.raises(EngineError) as caught:
        await running.ask(request)
    return caught.value.failure.kind, caught.value.failure.sentence


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (Prompt(), "A prompt has exactly one of text, turns and ids; this one has none of them."),
        (Prompt(text="a", ids=(1,)), "this one has text and ids."),
        (Prompt(text=""), "The text is empty. Give at least one character."),
        (Prompt(text="a\0b"), "The text has a NUL character at position 1."),
        (Prompt(text="a\ud800"), "half of a surrogate pair (U+D800)"),
        (Prompt(ids=()), "The prompt has no token ids."),
        (Prompt(ids=(2, 512)), "512 is not a token id of this model. Ids go from 0 to 511."),
        (Prompt(ids=(2, -1)), "-1 is not a token id of this model."),
        (Prompt(turns=()), "The conversation has no user turn."),
        (Prompt(turns=(Turn(role="model", content="a"),)), "and the user's is expected"),
    ],
)
async def test_prompts_that_are_none(running: Started, prompt: Prompt, words: str) -> None:
    for request in (Tokenize(prompts=(prompt,)), Sites(prompts=(prompt,), sites=("resid_post.0",))):
        kind, sentence = await refusal(running, request)
        assert kind == "bad_request"
        assert words in sentence
    _, sentence = await refusal(running, Tokenize(prompts=(Prompt(text="fine"), prompt)))
    assert sentence.startswith("Prompt 2: ")


async def test_a_text_that_is_too_long_is_told_by_how_much(tiny_gemma: Gemma, tmp_path: Path) -> None:
    async with started(tiny_gemma, tmp_path, max_prompt_tokens=4, max_prompts=2) as engine:
        request = Sites(prompts=(Prompt(ids=(2, 3, 4, 5, 6)),), sites=("resid_post.0",))
        assert await refusal(engine, request) == ("too_long", "Text too long: 5 tokens, max is 4.")
        kind, sentence = await refusal(engine, Tokenize(prompts=prompts("a", "a", "a")))
        assert (kind, sentence) == ("too_long", "Too many prompts: 3, max is 2 in one request.")
        fits = Sites(prompts=(Prompt(ids=(2, 3, 4, 5)),), sites=("resid_post.0",))
        assert (await engine.ask(fits)).prompts


async def test_questions_about_nothing(running: Started, suite: dict[str, Path]) -> None:
    sae = source(suite[SAE], layer=2)
    for request, words in (
        (Tokenize(prompts=()), "There is no prompt."),
        (Activations(prompts=prompts("a"), columns=()), "There is no feature to show."),
        (Activations(prompts=prompts("a"), columns=(Columns(source=sae, indexes=()),)), "No feature of"),
        (TopFeatures(prompts=prompts("a"), sources=(), k=1), "There is no source."),
        (Sites(prompts=prompts("a"), sites=()), "There is no site."),
        (Lease(holder="", seconds=1), "A lease needs a holder"),
        (Lease(holder="x", seconds=0), "cannot be given"),
        (Lease(holder="x", seconds=float("nan")), "cannot be given"),
        ("what?", "is not a question"),
    ):
        kind, sentence = await refusal(running, request)
        assert kind == "bad_request"
        assert words in sentence


@pytest.mark.parametrize("k", [0, -1, 1001])
async def test_k_out_of_range(running: Started, suite: dict[str, Path], k: int) -> None:
    sae = source(suite[SAE], layer=2)
    for request in (TopFeatures(prompts=prompts("a"), sources=(sae,), k=k), NextTokens(prompts=prompts("a"), k=k)):
        assert await refusal(running, request) == ("bad_request", f"k is {k}; it goes from 1 to 1000.")


@pytest.mark.parametrize("index", [-1, 96, 10**9])
async def test_an_index_out_of_range(running: Started, suite: dict[str, Path], index: int) -> None:
    sae = source(suite[SAE], layer=2)
    for request in (
        Activations(prompts=prompts("a"), columns=(Columns(source=sae, indexes=(0, index)),)),
        DecoderRows(source=sae, indexes=(index,)),
    ):
        kind, sentence = await refusal(running, request)
        assert kind == "bad_request"
        assert sentence == f"{sae.id} has no feature {index}; its indexes go from 0 to 95."


@pytest.mark.parametrize("site", ["resid_post.4", "attn_out.99"])
async def test_a_layer_that_the_model_lacks(running: Started, site: str) -> None:
    kind, sentence = await refusal(running, Sites(prompts=prompts("a"), sites=(site,)))
    assert (kind, sentence) == (
        "bad_request",
        f"{site} is not a site of this model, whose layers go from 0 to 3.",
    )


async def test_a_dictionary_for_another_model(running: Started, tmp_path: Path) -> None:
    wide = write_single(tmp_path, "resid_post", 1, tensors=tiny_tensors(d_in=40))
    deep = write_single(tmp_path, "resid_post", 7)
    for folder, layer, words in ((wide, 1, "reads 40 numbers at resid_post.1"), (deep, 7, "layers go from 0 to 3")):
        request = TopFeatures(prompts=prompts("a"), sources=(source(folder, layer=layer),), k=1)
        kind, sentence = await refusal(running, request)
        assert kind == "bad_request"
        assert words in sentence
        assert "made for another model" in sentence


async def test_a_dictionary_that_is_not_there(running: Started, tmp_path: Path, suite: dict[str, Path]) -> None:
    nowhere = Source(id="x", location=f"dir:{tmp_path / 'nowhere'}", layer=0)
    kind, _ = await refusal(running, TopFeatures(prompts=prompts("a"), sources=(nowhere,), k=1))
    assert kind == "unknown"
    odd = Source(id="x", location="ftp:somewhere", layer=0)
    kind, _ = await refusal(running, TopFeatures(prompts=prompts("a"), sources=(odd,), k=1))
    assert kind == "bad_request"
    elsewhere = source(suite[SAE], layer=1)
    kind, sentence = await refusal(running, TopFeatures(prompts=prompts("a"), sources=(elsewhere,), k=1))
    assert kind == "bad_request"
    assert "layer 1" in sentence
    offline = Source(id="x", location="hf:google/gemma-scope-2-270m-pt/resid_post/none@main", layer=0)
    kind, _ = await refusal(running, TopFeatures(prompts=prompts("a"), sources=(offline,), k=1))
    assert kind == "unavailable"


async def test_vectors_that_do_not_fit(running: Started, suite: dict[str, Path]) -> None:
    sae = source(suite[SAE], layer=2)
    for vectors, words in (
        (np.zeros((2, 31), np.float32), "shape [2, 31]"),
        (np.zeros(32, np.float32), "shape [32]"),
        (np.zeros((0, 32), np.float32), "at least one"),
        (np.full((2, 32), np.nan, np.float32), "Vector 0 has a value that is not finite"),
        (np.full((1, 32), 1e300), "not finite in float32"),
        (np.zeros((2, 32), complex), "complex"),
    ):
        kind, sentence = await refusal(running, Encode(source=sae, vectors=vectors))
        assert kind == "bad_request"
        assert words in sentence


async def test_sentence_vectors_are_answered_beside_the_device(running: Started) -> None:
    async with running.device_lent():
        answer = await running.ask(Embed(texts=("a cat", "a feline")))
    assert answer.vectors.shape == (2, 384)
