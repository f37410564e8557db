import gzip
from pathlib import Path

import pytest

from app.web.assets import FOREVER, Assets
from tests.pages import client, make_app


def test_a_file_may_be_kept_forever_under_the_address_of_its_content() -> None:
    assets = Assets()
    with client(make_app()) as browser:
        fresh = browser.get("/" + assets.url("gemlens.css"))
        stale = browser.get("/static/gemlens.css?v=old")
        again = browser.get("/" + assets.url("gemlens.css"), headers={"If-None-Match": fresh.headers["ETag"]})
    assert fresh.headers["Cache-Control"] == FOREVER
    assert fresh.headers["Content-Type"].startswith("text/css")
    assert fresh.headers["Content-Encoding"] == "gzip"
    assert stale.headers["Cache-Control"] == "no-cache"
    assert again.status_code == 304
    assert again.content == b""


def test_a_client_without_gzip_gets_the_file_itself() -> None:
    with client(make_app()) as browser:
        answer = browser.get("/static/gemlens.js", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in answer.headers
    assert answer.content == (Path(__file__).parents[3] / "static" / "gemlens.js").read_bytes()


@pytest.mark.parametrize(
    "path", ["/static/../app/main.py", "/static/%2e%2e/pyproject.toml", "/static//etc/passwd", "/static/", "/static/.x"]
)
def test_nothing_outside_the_folder_can_be_had(path: str) -> None:
    with client(make_app()) as browser:
        assert browser.get(path).status_code == 404


def test_pages_work_where_the_browser_code_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("p { color: red }")
    assert Assets(tmp_path).vendored("htmx") is None


def test_a_first_visit_weighs_less_than_sixty_kilobytes() -> None:
    assets = Assets()
    htmx = assets.vendored("htmx")
    assert htmx, "static/vendor/ is empty: run `npm ci --ignore-scripts` and `python -m app.web.vendor`."
    files = sum(assets.size(path) for path in ("gemlens.css", "heat.css", "gemlens.js", "icon.svg", htmx))
    with client(make_app()) as browser:
        for path in ("/", "/gemma-3-270m", "/gemma-3-270m/live"):
            assert files + len(gzip.compress(browser.get(path).content)) < 60_000
