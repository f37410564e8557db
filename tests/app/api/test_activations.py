"""Raw activations as Parquet: every row compared with what the engine computes."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.api import activations
from inference.engine import protocol as p
from tests.app.neuronpedia.web.conftest import Web
from tests.app.search.conftest import narrow
from tests.app.world import MODEL

ADDRESS = "/api/activations.parquet"
FIRST, SECOND = "12-starter-res-64", "9-starter-res-64"
TEXTS = ("the cat sat", "größer 猫, <script>", "the cat sat", "a")


async def asked(web: Web, body: bytes | str, *, status: int = 200, kind: str = "text/plain", **query: Any) -> Any:
    sent = body.encode() if isinstance(body, str) else body
    answer = await web.client.post(
        ADDRESS, params={"source": [FIRST], **query}, content=sent, headers={"Content-Type": kind}
    )
    assert answer.status_code == status, answer.text
    return answer


def table(answer: Any) -> pa.Table:
    return pq.read_table(io.BytesIO(answer.content))


def rows(answer: Any) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table(answer).columns), strict=True))


def expected(web: Web, texts: Any, sources: Any, *, first_position: int) -> list[tuple[Any, ...]]:
    rows = []
    for number, text in enumerate(texts):
        tokens = web.engine._tokens(p.Prompt(text=text))
        for position in range(first_position, len(tokens.ids)):
            for source in sources:
                values = narrow(tokens, p.Source(id=source, location="", layer=int(source.partition("-")[0])))
                for index in np.flatnonzero(values[position]):
                    rows.append((number, position, tokens.pieces[position], source, index, values[position, index]))
    return rows


@pytest.mark.parametrize(("untrained", "first"), [("false", 1), ("true", 0)])
async def test_every_firing_is_a_row(web: Web, untrained: str, first: int) -> None:
    answer = await asked(web, "\n\n".join(TEXTS), source=[FIRST, SECOND, FIRST], untrained=untrained)
    found = rows(answer)
    wanted = expected(web, TEXTS, (FIRST, SECOND), first_position=first)
    assert len(wanted) > 100
    assert found == wanted
    assert answer.headers["content-type"] == activations.PARQUET
    assert table(answer).column_names == ["prompt", "position", "token", "source", "index", "value"]


async def test_json_lines_mean_the_same_and_chats_are_taken(web: Web) -> None:
    lines = [json.dumps(TEXTS[0]), json.dumps({"text": TEXTS[1]}), json.dumps({"prompt": TEXTS[2]})]
    found = table(await asked(web, "\n".join(lines), kind="application/x-ndjson"))
    assert found.equals(table(await asked(web, "\n".join(TEXTS[:3]))))
    chat = json.dumps({"turns": [{"role": "user", "content": "hello"}]})
    assert len(table(await asked(web, chat, kind="application/x-ndjson")))
    (prompt,) = web.engine.asked[-1].prompts
    assert prompt.turns == (p.Turn(role="user", content="hello"),)


async def test_rows_come_in_groups_and_the_file_says_what_it_is(web: Web) -> None:
    texts = [f"number {number}" for number in range(40)]
    answer = await asked(web, "\n".join(texts))
    file = pq.ParquetFile(io.BytesIO(answer.content))
    assert file.num_row_groups == 3
    assert [len(one.prompts) for one in web.engine.asked[-3:]] == [16, 16, 8]
    assert rows(answer) == expected(web, texts, (FIRST,), first_position=1)
    about = json.loads(file.schema_arrow.metadata[b"gemlens"])
    assert about["provenance"]["model"] == MODEL
    assert about["dictionaries"] == {FIRST: f"starter/{FIRST}"}


def test_groups_keep_the_order_and_their_limits() -> None:
    items = activations.read("\n".join("x" * length for length in (10, 7_995, 20, 9_000, 1, 1)).encode(), "text/plain")
    assert [[len(one.text) for one in batch] for batch in activations.batched(items)] == [
        [10], [7_995], [20], [9_000], [1, 1]
    ]  # fmt: skip


async def test_what_is_wrong_is_said_before_anything_is_sent(web: Web) -> None:
    for body, query, status, words in (
        ("", {}, 400, "no prompts"),
        ("  \n ", {}, 400, "no prompts"),
        (b"\xff\xfe", {}, 400, "UTF-8"),
        ("a\0b", {}, 400, "NUL"),
        ("a", {"source": ["5-nothing"]}, 404, "not installed"),
        ("a", {"model": "gpt-2"}, 404, "gpt-2"),
        ("a", {"source": []}, 422, "source"),
        ("a", {"source": [FIRST] * 9}, 422, "source"),
        ("x\n" * (activations.MOST_PROMPTS + 1), {}, 413, "5,001 prompts"),
        ("x" * 30_000, {}, 400, "20,000"),
    ):
        told = (await asked(web, body, status=status, **query)).json()
        assert words in told["message"], told
    told = (await asked(web, '{"text": 3}', kind="application/x-ndjson", status=400)).json()
    assert "Line 1" in told["message"]


async def test_a_busy_engine_is_waited_for_once_rows_are_on_their_way(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activations, "WAIT_SECONDS", 0.01)
    texts = "\n".join(f"number {number}" for number in range(17))
    whole = table(await asked(web, texts))
    ask, calls = web.engine.ask, 0

    async def now_and_then(request: Any) -> Any:
        nonlocal calls
        calls += isinstance(request, p.SparseActivations)
        if calls in (2, 3) and isinstance(request, p.SparseActivations):
            raise p.EngineError("busy", "Others wait.")
        return await ask(request)

    monkeypatch.setattr(web.engine, "ask", now_and_then)
    assert table(await asked(web, texts)).equals(whole)
    assert calls == 4
    calls = 1
    assert (await asked(web, texts, status=429)).json()["message"] == "Others wait."


async def test_a_file_that_broke_off_is_never_read_as_a_whole_one(web: Web, tmp_path: Path) -> None:
    content = (await asked(web, "\n".join(f"number {number}" for number in range(40)))).content
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(pa.ArrowInvalid, match="footer"):
        pq.ParquetFile(cut)
