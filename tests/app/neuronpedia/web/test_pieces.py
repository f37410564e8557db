"""Tokens written ahead, against the reading of each passage by itself."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.neuronpedia.web.pieces import Pieces
from app.store import tokens

BYTES = {index: f"<0x{byte:02X}>" for index, byte in enumerate("é€🙂\n".encode() + b"\xff\xc3")}
TEXTS = BYTES | {20: " a", 21: '"', 22: "\u2028", 23: "<0x4>", 24: "🙂", 25: ""}
IDS = st.lists(st.sampled_from([*TEXTS, 26, 40]), max_size=30)


@given(st.lists(IDS, min_size=1, max_size=4))
def test_passages_read_as_each_by_itself(passages: list[list[int]]) -> None:
    pieces = Pieces()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "texts", _texts)
        arrays = [np.array(ids, dtype=np.int32) for ids in passages]
        for array in arrays:
            _run(pieces.learn(SimpleNamespace(), 1, [array]))  # type: ignore[arg-type]
    for ids, array in zip(passages, arrays, strict=True):
        assert orjson.loads(pieces.passage(array)) == tokens.pieces(ids, TEXTS)


async def _texts(session: Any, tokenizer_id: int, ids: list[int]) -> dict[int, str]:
    return TEXTS


def _run(work: Any) -> None:
    with pytest.raises(StopIteration):
        work.send(None)
