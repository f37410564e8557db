from pathlib import Path

import numpy as np
import pytest
import torch

from inference.conversations import Said
from inference.errors import BadInput
from inference.gemma.model import Gemma
from inference.gemma.sites import Site
from inference.training.sources import TokenFile
from inference.training.stream import BOS, PAD, ActivationStream, StreamShape, shape_stream, trained_positions
from tests.inference.training.made import token_file

SITES = (Site("resid_post", 1), Site("attn_out", 2), Site("mlp_in", 2))


def stream_of(gemma: Gemma, path: Path, *, round_tokens: int = 128, passes: int = 1) -> ActivationStream:
    source = TokenFile(path, passage_tokens=16, seed=3)
    source.held_out(4)
    return ActivationStream(
        reader=gemma, source=source, sites=SITES, shape=StreamShape(16, 4, 32, round_tokens, passes), seed=1,
        device=torch.device("cpu"), dtype=torch.float32,
    )  # fmt: skip


def test_bos_padding_and_the_template_of_a_chat_are_not_trained_on() -> None:
    ids = np.array([[BOS, 7, 8, 9, BOS, 5], [BOS, 105, 2364, 107, 9, PAD], [BOS, 9, 107, 106, 107, 3]])
    expected = [[0, 1, 1, 1, 0, 1], [0, 0, 0, 0, 1, 0], [0, 1, 1, 0, 0, 1]]
    assert trained_positions(ids).astype(int).tolist() == expected


def test_of_a_conversation_what_is_said_is_trained_on(tiny_gemma: Gemma) -> None:
    said = [Said("user", "the mode"), Said("model", "an user"), Said("user", "\n\nin")]
    ids = tiny_gemma.tokenizer.encode_turns(said, generation_prompt=False)
    trained = trained_positions(np.array([ids]))[0]
    pieces = tiny_gemma.tokenizer.pieces(ids)
    assert "".join(piece for piece, kept in zip(pieces, trained, strict=True) if kept) == "the modean userin"
    left_out = "".join(piece for piece, kept in zip(pieces, trained, strict=True) if not kept)
    turn = "<start_of_turn>{}\n<end_of_turn>\n"
    assert left_out == "<bos>" + turn.format("user") + turn.format("model") + turn.format("user")


def test_the_buffer_stays_below_its_bound_in_bytes(tiny_gemma: Gemma, tmp_path: Path) -> None:
    widths = [tiny_gemma.site_width(site) for site in SITES]
    bound = 100_000
    shape = shape_stream(
        widths=widths, item_bytes=4, buffer_bytes=bound, passage_tokens=16, forward_tokens=64, batch_tokens=32,
        total_tokens=10**9,
    )  # fmt: skip
    stream = stream_of(tiny_gemma, token_file(tmp_path), round_tokens=shape.round_tokens)
    assert stream.nbytes <= bound
    assert bound - stream.nbytes < sum(widths) * 4 * 32
    assert shape.round_tokens % 32 == 0


def test_a_buffer_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(BadInput, match="does not hold one batch"):
        shape_stream(
            widths=[640], item_bytes=2, buffer_bytes=1000, passage_tokens=16, forward_tokens=64, batch_tokens=32,
            total_tokens=10**9,
        )  # fmt: skip


def test_text_that_is_used_several_times_takes_no_larger_buffer_than_it_fills() -> None:
    shape = shape_stream(
        widths=[640], item_bytes=4, buffer_bytes=10**9, passage_tokens=16, forward_tokens=64, batch_tokens=32,
        total_tokens=960, passes=3,
    )  # fmt: skip
    assert (shape.round_tokens, shape.passes) == (320, 3)


def test_every_batch_row_is_one_position_of_a_plain_pass_at_every_site(tiny_gemma: Gemma, tmp_path: Path) -> None:
    path = tmp_path / "ids.npy"
    np.save(path, 110 + np.arange(840, dtype=np.uint32) % 290)  # no two windows begin alike
    stream = stream_of(tiny_gemma, path)
    source = TokenFile(path, passage_tokens=16, seed=3)
    source.held_out(4)
    passages = np.concatenate([source.take(4) for _ in range(3)])
    read = tiny_gemma.read_sites(torch.from_numpy(passages), SITES)
    trained = torch.from_numpy(trained_positions(passages))
    plain = {site: value[trained][:128] for site, value in read.items()}
    seen = []
    for _ in range(4):
        stream.advance()
        rows = stream.batch([SITES[0]])[0]
        distance = torch.cdist(rows, plain[SITES[0]], compute_mode="donot_use_mm_for_euclid_dist")
        nearest = distance.argmin(dim=1)
        assert distance.min(dim=1).values.max() < 1e-3
        for site in SITES[1:]:
            torch.testing.assert_close(stream.batch([site])[0], plain[site][nearest], atol=1e-5, rtol=1e-5)
        seen += nearest.tolist()
    assert sorted(seen) == list(range(128))
    assert seen != sorted(seen)


def rows_of_next(stream: ActivationStream, *, batches: int) -> torch.Tensor:
    found = []
    for _ in range(batches):
        stream.advance()
        found.append(stream.batch([SITES[0]])[0])
    return torch.cat(found)


def in_one_order(rows: torch.Tensor) -> torch.Tensor:
    return rows[torch.from_numpy(np.lexsort(rows.numpy().T))]


def test_every_pass_over_a_round_has_all_of_it_in_another_order(tiny_gemma: Gemma, tmp_path: Path) -> None:
    stream = stream_of(tiny_gemma, token_file(tmp_path), passes=3)
    passes = [rows_of_next(stream, batches=4) for _ in range(3)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert torch.equal(in_one_order(passes[one]), in_one_order(passes[other]))
        assert not torch.equal(passes[one], passes[other])
    once = stream_of(tiny_gemma, token_file(tmp_path))
    assert torch.equal(rows_of_next(once, batches=4), passes[0])
    assert torch.equal(rows_of_next(stream, batches=4), rows_of_next(once, batches=4)), "the next round is not the next"


@pytest.mark.parametrize(("passes", "before"), [(1, 6), (2, 3), (2, 4), (2, 6), (2, 11), (3, 9)])
def test_a_restored_stream_goes_on_with_the_same_batches(
    tiny_gemma: Gemma, tmp_path: Path, passes: int, before: int
) -> None:
    path = token_file(tmp_path)
    stream = stream_of(tiny_gemma, path, passes=passes)
    for _ in range(before):
        stream.advance()
    state = stream.state()
    following = []
    for _ in range(5):
        stream.advance()
        following.append(stream.batch([SITES[1]]))
    again = stream_of(tiny_gemma, path, passes=passes)
    again.restore(state)
    for batch in following:
        again.advance()
        assert torch.equal(again.batch([SITES[1]]), batch)
