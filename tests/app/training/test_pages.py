"""The pages of training runs, over logs as a run writes them."""

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from app.training.curves import chart, steps
from app.training.log import rows
from app.training.registry import find, note, runs
from inference.errors import NotFound
from tests.pages import HTMX, Parsed, client, make_app

NAMES = ("resid_post/layer_1_width_64_l0_medium", "transcoder_all/layer_2_width_32_l0_small_affine")


def line(step: int, steps: int = 100, **changes: Any) -> str:
    row = {
        "step": step, "steps": steps, "tokens": step * 64, "seconds": step * 0.5, "tokens_per_s": 128.0,
        "seconds_left": (steps - step) * 0.5, "rate_factor": 1.0,
        "dictionaries": [
            {"name": name, "l0": 8.0, "fvu": 1 / step, "fvu_ordinary": 0.9 / step, "dead_share": 0.01, "threshold": 0.1}
            for name in NAMES
        ],
    }  # fmt: skip
    return json.dumps({**row, **changes}) + "\n"


def made(out: Path, *lines: str) -> Path:
    (out / "run").mkdir(parents=True)
    about = {"model": "gemma-3-270m", "tokens": 6400, "source": {"kind": "tokens", "path": "/somewhere/private.npy"},
             "origin": {"checkpoint_sha256": "abcdef0123456789"}}  # fmt: skip
    (out / "run" / "run.json").write_text(json.dumps(about))
    if lines:
        (out / "run" / "log.jsonl").write_text("".join(lines))
    return out


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_long_log_is_read_by_some_of_its_rows_and_the_last(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(line(step, 5000) for step in range(1, 5001)))
    found = rows(path, most=100)
    assert found[0].step == 1
    assert found[-1].step == 5000
    gaps = [later.step - earlier.step for earlier, later in itertools.pairwise(found)]
    assert 100 <= len(found) <= 102
    assert max(gaps) <= 60
    path.write_text("".join(line(step) for step in range(1, 8)))
    assert [row.step for row in rows(path)] == [1, 2, 3, 4, 5, 6, 7]


def test_half_a_line_and_what_is_no_line_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(line(1) + "nonsense\n" + line(2).replace("0.01", "NaN") + line(3)[:-20])
    assert [row.step for row in rows(path)] == [1, 2]
    assert rows(path)[1].dictionaries[0].dead_share is None
    assert rows(tmp_path / "none") == []
    path.write_text("")
    assert rows(path) == []


def test_runs_below_the_home_and_runs_noted_elsewhere_are_known(home: Path, tmp_path: Path) -> None:
    made(home / "trained" / "gemma-3-270m" / "first", line(10))
    outside = made(tmp_path / "my suite", line(10))
    other = made(tmp_path / "other" / "my suite", line(10))
    assert note(home, home / "trained" / "gemma-3-270m" / "first") == "gemma-3-270m-first"
    assert note(home, outside) == note(home, outside) == "my-suite"
    second = note(home, other)
    assert second.startswith("my-suite-")
    assert {run.name for run in runs(home)} == {"gemma-3-270m-first", "my-suite", second}
    assert find(home, second).out == other
    with pytest.raises(NotFound, match="There are: "):
        find(home, "none")
    (outside / "run" / "run.json").unlink()
    assert "my-suite" not in {run.name for run in runs(home)}


def test_a_curve_goes_where_its_values_are() -> None:
    drawn = chart("l0", [("one", 0, [(0.0, 0.0), (50.0, None), (100.0, 10.0)])], end=100.0)
    (curve,) = drawn.lines
    assert curve.path == f"M{drawn.left}.0 {drawn.bottom}.0M{drawn.right}.0 {drawn.top}.0"
    assert [tick.text for tick in drawn.up] == ["0", "2", "4", "6", "8", "10"]
    assert chart("empty", [], end=0.0).lines == ()


@pytest.mark.parametrize("high", [0.003, 0.07, 1.0, 3.3, 60.0, 999.0, 1_300_000.0])
def test_ticks_are_few_and_reach_over_the_greatest(high: float) -> None:
    ticks = steps(0.0, high)
    assert 3 <= len(ticks) <= 7
    assert ticks[-2] < high <= ticks[-1]


def test_the_page_shows_a_run_and_asks_again_only_while_it_runs(home: Path) -> None:
    out = made(home / "trained" / "suite", line(10), line(20))
    with client(make_app(home=home)) as browser:
        listed = browser.get("/training")
        page = browser.get("/training/suite")
        fragment = browser.get("/training/suite", headers=HTMX)
        chosen = browser.get("/training/suite", params={"dictionary": NAMES[1]})
        (out / "run" / "log.jsonl").write_text(line(10) + line(100))
        done = browser.get("/training/suite")
        (out / "run" / "log.jsonl").write_text(line(10) + line(20))
        os.utime(out / "run" / "log.jsonl", (time.time() - 5000,) * 2)
        stopped = browser.get("/training/suite")
    assert Parsed(listed.text).having(href="/training/suite")
    for answer in (page, fragment, chosen):
        assert answer.status_code == 200
        assert "20 of 100" in Parsed(answer.text).text
        assert "delay:10000ms" in answer.text
        assert answer.text.count("<figure") == 5
        assert "style=" not in answer.text
        assert "private" not in answer.text
    assert "<html" not in fragment.text
    assert 'class="line k1 chosen"' in chosen.text
    for answer, state in ((done, "done"), (stopped, "stopped")):
        assert state in Parsed(answer.text).text
        assert "hx-trigger" not in answer.text


def test_json_has_what_the_page_is_made_from(home: Path) -> None:
    made(home / "trained" / "suite", line(10), line(20))
    with client(make_app(home=home)) as browser:
        (listed,) = browser.get("/training.json").json()
        view = browser.get("/training/suite.json").json()
        missing = browser.get("/training/none.json")
        wrong = browser.get("/training/suite.json", params={"dictionary": "none"})
    assert listed["state"] == "running"
    assert view["run"] | {"silent_seconds": 0} == listed | {"silent_seconds": 0}
    assert [point["step"] for point in view["points"]] == [10, 20]
    assert view["checkpoint_sha256"] == "abcdef0123456789"
    assert missing.status_code == wrong.status_code == 404
    assert "There are: suite" in missing.json()["message"]


def test_a_home_without_runs_says_how_to_start_one_and_a_new_run_waits(home: Path) -> None:
    with client(make_app(home=home)) as browser:
        empty = browser.get("/training")
        made(home / "trained" / "suite")
        begun = browser.get("/training/suite")
    assert "gemlens train CONFIG.json" in Parsed(empty.text).text
    assert "Nothing is logged yet" in Parsed(begun.text).text
