"""What is made of sparse answers equals what one would make of the whole table."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.neuronpedia.inference import chat, numbers
from app.neuronpedia.inference.questions import Message
from inference.engine.protocol import Sparse, Tokens
from tests.app.neuronpedia.engine import HandEngine

TABLES = st.integers(0, 2**16).flatmap(
    lambda seed: st.tuples(st.integers(1, 6), st.lists(st.integers(1, 7), min_size=1, max_size=3)).map(
        lambda shape: tables(seed, *shape)
    )
)


def tables(seed: int, length: int, widths: list[int]) -> list[np.ndarray]:
    """Few different values, so that there are ties; some features never fire."""
    draw = np.random.default_rng(seed)
    return [np.maximum(draw.integers(-3, 4, (length, width)), 0).astype(np.float32) / 2 for width in widths]


def sparse(table: np.ndarray) -> Sparse:
    rows, indexes = table.nonzero()
    return Sparse(rows=rows.astype(np.int32), indexes=indexes.astype(np.int32), values=table[rows, indexes])


def tokens(length: int) -> Tokens:
    ids = np.arange(2, 2 + length, dtype=np.int32)
    return Tokens(ids=ids, pieces=tuple(map(str, ids)), special=np.arange(length) == 0, untrained=1)


@settings(deadline=None)
@given(TABLES, st.booleans(), st.lists(st.integers(0, 5), max_size=4), st.integers(0, 25))
def test_the_strongest_of_several_sources(
    found: list[np.ndarray], mute: bool, positions: list[int], count: int
) -> None:
    length = len(found[0])
    positions = [position % length for position in positions]
    ranked = numbers.strongest(
        [sparse(table) for table in found], widths=[table.shape[1] for table in found], length=length, count=count,
        sort_positions=positions, mute_first=mute,
    )  # fmt: skip
    whole = np.concatenate(found, axis=1)
    if mute:
        whole[0] = 0
    keys = whole[positions].sum(0) if positions else whole.max(0)
    owners = [(number, index) for number, table in enumerate(found) for index in range(table.shape[1])]
    order = np.argsort(-keys, kind="stable")[:count]
    assert [(one.source, one.feature) for one in ranked] == [owners[n] for n in order]
    for one, n in zip(ranked, order, strict=True):
        np.testing.assert_array_equal(one.values, whole[:, n])
        assert one.total == (keys[n] if positions else 0)


@settings(deadline=None)
@given(TABLES, st.booleans(), st.integers(1, 7))
def test_the_strongest_at_each_token(found: list[np.ndarray], ignore_bos: bool, k: int) -> None:
    table = found[0]
    k = min(k, table.shape[1])
    told = numbers.top_by_token(tokens(len(table)), sparse(table), k=k, ignore_bos=ignore_bos)
    assert [one.token_position for one in told.results] == list(range(int(ignore_bos), len(table)))
    for one in told.results:
        order = np.argsort(-table[one.token_position], kind="stable")[:k]
        assert [top.feature_index for top in one.top_features] == order.tolist()
        assert [top.activation_value for top in one.top_features] == table[one.token_position, order].tolist()


@settings(deadline=None)
@given(TABLES)
def test_everything_that_fires_by_feature(found: list[np.ndarray]) -> None:
    table = found[0]
    told = numbers.active(tokens(len(table)), sparse(table))
    back = np.zeros_like(table)
    for feature, pairs in told.activeFeatures.items():
        assert pairs
        for position, value in pairs:
            back[position, int(feature)] = value
    table[0] = 0
    np.testing.assert_array_equal(back, table)


def test_a_further_bos_has_no_value() -> None:
    told = numbers.single(
        Tokens(
            ids=np.array([2, 7, 2, 8], np.int32), pieces=("<bos>", "a", "<bos>", "b"),
            special=np.array([True, False, True, False]), untrained=1,
        ),
        np.array([9, 1, 5, 2], np.float32),
    )  # fmt: skip
    assert told.activation.values == [1.0, 0.0, 2.0]
    assert (told.activation.max_value, told.activation.max_value_index) == (2.0, 2)
    assert told.tokens_is_special == [False, True, False]


async def test_each_token_of_a_conversation_belongs_to_a_message() -> None:
    messages = [
        Message(role="system", content="Be brief."),
        Message(role="user", content=" the cat "),
        Message(role="model", content="sat"),
        Message(role="user", content=""),
    ]
    parts = chat.segments(messages, generation_prompt=True)
    text = "".join(part.text for part in parts)
    cut = HandEngine().cut("<bos>", text)
    told = [
        (one.token_str, one.message_index, one.role, one.section) for one in chat.spans(cut, parts, first_role="system")
    ]
    assert told == [
        ("<bos>", 0, "system", "header"),
        ("<start_of_turn>", 1, "user", "header"), ("user", 1, "user", "header"), ("\n", 1, "user", "header"),
        ("Be", 0, "system", "content"), (" brief.", 0, "system", "content"),
        ("\n", None, None, "scaffold"), ("\n", None, None, "scaffold"),
        ("the", 1, "user", "content"), (" cat", 1, "user", "content"),
        ("<end_of_turn>", 1, "user", "footer"), ("\n", 1, "user", "footer"),
        ("<start_of_turn>", 2, "model", "header"), ("model", 2, "model", "header"), ("\n", 2, "model", "header"),
        ("sat", 2, "model", "content"), ("<end_of_turn>", 2, "model", "footer"), ("\n", 2, "model", "footer"),
        ("<start_of_turn>", 3, "user", "header"), ("user", 3, "user", "header"), ("\n", 3, "user", "header"),
        ("<end_of_turn>", 3, "user", "footer"), ("\n", 3, "user", "footer"),
        ("<start_of_turn>", None, "assistant", "header"), ("model", None, "assistant", "header"),
        ("\n", None, "assistant", "header"),
    ]  # fmt: skip
