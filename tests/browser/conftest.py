"""A real Chromium on the real application over a fake engine.

Playwright lives as long as one module: while it runs, its event loop would be in the way of asynchronous tests.
Every page is watched: an error in the console, or anything that the content policy stopped, fails its test.
"""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from app.web.assets import Assets
from tests.fake_engine import FakeEngine
from tests.pages import make_app

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"]
VIOLATIONS = "document.addEventListener('securitypolicyviolation', e => console.error('POLICY ' + e.violatedDirective))"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))


@dataclass
class Site:
    """The running application and the engine behind it."""

    url: str
    engine: FakeEngine


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    if Assets().vendored("htmx") is None:
        pytest.fail(
            "static/vendor/ is empty: run `make setup`, or `npm ci --ignore-scripts; python -m app.web.vendor`."
        )
    engine = FakeEngine()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://localhost:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(make_app(engine), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Site(url, engine)
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture
def site(running: Site) -> Site:
    """The application, with an engine that is ready and remembers nothing of other tests."""
    running.engine.state, running.engine.doing, running.engine.progress = "ready", "", 1.0
    running.engine.failure, running.engine.seconds, running.engine.pieces = None, 0.0, None
    running.engine.asked.clear()
    return running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        names = ("chromium", "chromium-browser", "google-chrome")
        found = next((path for name in names if (path := shutil.which(name))), None)
        if found is None and not own.exists():
            pytest.fail(
                "No Chromium was found. `make chromium` installs one: from the system's packages as root on Debian "
                "(apt-get install chromium), else by `.venv/bin/playwright install --with-deps chromium`."
            )
        browser = playwright.chromium.launch(executable_path=found or own, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Watched:
    """Opens pages and remembers what went wrong on them."""

    browser: Browser
    url: str
    troubles: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Parts of console messages that the test itself brings about."""
    _contexts: list[BrowserContext] = field(default_factory=list)

    def __call__(self, **options: Any) -> Page:
        context = self.browser.new_context(base_url=self.url, **options)
        context.set_default_timeout(15_000)
        if options.get("java_script_enabled", True):
            context.add_init_script(VIOLATIONS)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self._note(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self._note(str(error)))
        return page

    def _note(self, text: str) -> None:
        if not any(part in text for part in self.expected):
            self.troubles.append(text)

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def opened(chromium: Browser, site: Site) -> Iterator[Watched]:
    watched = Watched(chromium, site.url)
    yield watched
    watched.close()
    assert watched.troubles == []


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Save what a page looks like, for people."""
    ARTEFACTS.mkdir(exist_ok=True)

    def save(page: Page, name: str) -> None:
        page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)

    return save
