"""In which order features are shown: what holds on both halves first, luck on one of them last."""

import msgspec
import pytest

from app.contrast.result import Found, Result
from app.contrast.view import Shown, fitting, parse_shown
from inference.errors import BadInput


def row(index: int, auc: float, held_out: float | None, *, p: float = 0.5, effect: float | None = 0.0) -> Found:
    return Found(
        source="s", index=index, auc=auc, auc_held_out=held_out, auc_all=auc, effect=effect, p=p, q=p, mean_a=0.0,
        mean_b=0.0, fired_a=0, fired_b=0, examples_a=(), examples_b=(),
    )  # fmt: skip


LUCK, SILENT, AGAINST = row(1, 1.0, 0.64), row(2, 0.98, 0.46), row(3, 0.97, 0.36)
HOLDS, HOLDS_ON_B, LIKELIER = row(291, 0.94, 0.92), row(1334, 0.05, 0.0, p=0.01), row(5, 0.9, 0.95, p=0.001)
KEPT = (LUCK, SILENT, AGAINST, HOLDS_ON_B, HOLDS, LIKELIER)


def shown(rows: tuple[Found, ...], **how: str) -> list[int]:
    blank = {"model": "", "checkpoint": "", "checkpoint_origin": "", "dtype": "", "device": "", "version": ""}
    counts = dict.fromkeys(("tests", "significant", "prompts_a", "prompts_b", "ranking_a", "ranking_b", "tokens"), 0)
    result = msgspec.convert({"rows": [], "sources": [], "seconds": 0.0, **counts, **blank}, Result)
    found = fitting(msgspec.structs.replace(result, rows=rows), parse_shown(how))
    assert [rank for rank, _ in found] == list(range(1, len(rows) + 1))
    return [one.index for _, one in found]


def test_what_holds_on_both_halves_comes_first_and_contradictions_last() -> None:
    assert shown(KEPT) == [1334, 291, 5, 1, 2, 3]


def test_of_equally_strong_ones_the_likelier_comes_first() -> None:
    assert shown((row(1, 0.9, 0.8, p=0.2), row(2, 0.2, 0.1, p=0.1), row(3, 0.8, 0.8, p=0.1, effect=None))) == [3, 2, 1]


def test_the_held_out_half_has_no_say_in_the_order_of_the_ranking_half() -> None:
    assert shown(KEPT, order="ranking") == [one.index for one in KEPT]
    assert shown(KEPT, order="p")[:2] == [5, 1334]


def test_without_a_held_out_half_the_order_is_that_of_auc() -> None:
    assert shown((row(1, 0.7, None), row(2, 0.1, None), row(3, 0.8, None))) == [2, 3, 1]


def test_an_order_is_read_back_from_its_own_address() -> None:
    for order in ("halves", "p", "ranking"):
        found = parse_shown({"order": order})
        assert parse_shown({name: str(value) for name, value in found.query().items() if value}) == found
    assert Shown().query()["order"] is None
    with pytest.raises(BadInput, match="'luck' is no order of features; write one of halves, p, ranking"):
        parse_shown({"order": "luck"})
