"""What a page may weigh, whom it may ask, and that the content policy has nothing to stop, for every kind of page.

Bytes are counted as they come over the wire, on a first visit, everything that the page brings with it included.
"""

from dataclasses import dataclass

import pytest
from playwright.sync_api import Page

from tests.app.world import DEAD, MODEL
from tests.browser.conftest import Site, Watched
from tests.browser.test_features import running  # noqa: F401

SOURCE = f"/{MODEL}/12-starter-res-64"
FEATURE = f"{SOURCE}/6"
FEATURE_BYTES, EMBED_BYTES = 60_000, 30_000
PAGES = {
    "home": "/",
    "model": f"/{MODEL}",
    "source": f"{SOURCE}?sort=peak",
    "plots": f"{SOURCE}/plots",
    "feature": FEATURE,
    "stacked": f"{FEATURE}?context=stacked",
    "dead feature": f"{SOURCE}/{DEAD}",
    "embed": f"{FEATURE}?embed=true",
    "search": "/search?q=doctor",
    "live": f"/{MODEL}/live?text=A+doctor+in+Paris",
    "jobs": "/jobs",
    "training": "/training",
    "unknown": f"{SOURCE}/999999",
}


@dataclass(frozen=True)
class Visit:
    sizes: tuple[float, ...]
    hosts: frozenset[str]
    policy: str


def visit(page: Page, address: str) -> Visit:
    """A first visit, to its end."""
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    sizes: list[float] = []
    hosts: set[str] = set()
    client.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    answer = page.goto(address, wait_until="networkidle")
    assert answer is not None
    assert answer.status == (404 if address == PAGES["unknown"] else 200)
    return Visit(tuple(sizes), frozenset(hosts), answer.headers.get("content-security-policy", ""))


@pytest.mark.parametrize(
    ("name", "most"), [("feature", FEATURE_BYTES), ("stacked", FEATURE_BYTES), ("embed", EMBED_BYTES)]
)
def test_a_first_visit_is_light(opened: Watched, name: str, most: int) -> None:
    sizes = visit(opened(), PAGES[name]).sizes
    assert 5_000 < sum(sizes) <= most, sizes


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_nobody_else_and_breaks_no_policy(opened: Watched, site: Site, name: str) -> None:
    """Violations are errors in the console, and `opened` fails on those."""
    if name == "unknown":
        opened.expected.append("404")
    seen = visit(opened(), PAGES[name])
    assert seen.hosts == {site.url.partition("//")[2]}
    # What Plotly draws cannot do without styles of its own; scripts are never allowed any.
    assert seen.policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert ("unsafe" in seen.policy) == (name == "plots")


def test_a_second_page_brings_only_itself(opened: Watched) -> None:
    """Styles and scripts stay with the browser from one page to the next. What is asked for besides is whether the
    feature has the reader's star: the page itself is the same for everyone."""
    page = opened()
    first = visit(page, FEATURE).sizes
    again = visit(page, f"{SOURCE}/7").sizes
    # A third answer can be the first page's own, late where the machine is busy.
    assert sum(size > 0 for size in again) <= 3 < sum(size > 0 for size in first), (first, again)
    assert 0 < sum(again) < sum(first) / 2, (first, again)
