"""A feature page in Chromium as a phone on a slow network meets it, first visit, nothing cached.

1.6 Mbit/s, 150 ms to every answer, a screen of 390 by 844 points. The processor is not slowed down further: Lighthouse
divides a fast desk machine by four to get a phone; the few slow cores that this runs on work for the server and the
database at the same time, so that would be counted twice. `slowed` says what was set.
"""

import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from bench.figure import Figure
from bench.house import house
from bench.pages import feature_addresses, weather

VISITS = 9
SLOWED = 1
NETWORK = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True,
}  # fmt: skip
WATCH = """
    window.seen = {paint: 0, first: 0, shift: 0, tasks: []};
    new PerformanceObserver(list => { for (const e of list.getEntries()) seen.paint = e.startTime; })
        .observe({type: 'largest-contentful-paint', buffered: true});
    new PerformanceObserver(list => { for (const e of list.getEntries())
        if (e.name === 'first-contentful-paint') seen.first = e.startTime; }).observe({type: 'paint', buffered: true});
    new PerformanceObserver(list => { for (const e of list.getEntries())
        if (!e.hadRecentInput) seen.shift += e.value; }).observe({type: 'layout-shift', buffered: true});
    new PerformanceObserver(list => { for (const e of list.getEntries()) seen.tasks.push([e.startTime, e.duration]); })
        .observe({type: 'longtask', buffered: true});
"""


def figures() -> Iterator[Figure]:
    with house() as served, chromium() as browser:
        addresses = feature_addresses(VISITS + 1, seed=6)
        visits = [_visit(browser, served.url + address) for address in addresses][1:]
    where = f"feature page, phone on 1.6 Mbit/s and 150 ms, median of {VISITS} first visits"
    detail = {"slowed": SLOWED, **weather()}
    for name, unit, bound in (("largest paint", "s", 1.5), ("total blocking", "ms", 50), ("weight", "kB", 60)):
        values = [visit[name] for visit in visits]
        yield Figure(
            name=f"{where}: {name}", value=statistics.median(values), unit=unit, bound=bound,
            detail={"most": round(max(values), 2), **detail},
        )  # fmt: skip
    shift = max(visit["layout shift"] for visit in visits)
    yield Figure(name=f"{where}: layout shift, the most", value=shift, unit="", bound=0, detail=detail)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's own, or else Playwright's."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        found = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), own)
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield browser
        finally:
            browser.close()


def _visit(browser: Browser, address: str) -> dict[str, float]:
    context = browser.new_context(**PHONE)
    try:
        context.add_init_script(WATCH)
        page = context.new_page()
        client = context.new_cdp_session(page)
        client.send("Network.enable")
        client.send("Network.emulateNetworkConditions", NETWORK)
        client.send("Emulation.setCPUThrottlingRate", {"rate": SLOWED})
        sizes: list[float] = []
        client.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        page.goto(address, wait_until="networkidle")
        page.wait_for_timeout(500)
        seen = page.evaluate("seen")
    finally:
        context.close()
    return {
        "largest paint": seen["paint"] / 1000,
        "total blocking": sum(max(0.0, length - 50) for start, length in seen["tasks"] if start >= seen["first"]),
        "layout shift": seen["shift"],
        "weight": sum(sizes) / 1000,
    }
