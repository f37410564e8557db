"""The live page in Chromium: from sending sixty tokens that nobody asked for before to the painted map of every starter
source. The bare pass through all layers beside it says how much of that is the model."""

import json
import random
import statistics
import urllib.request
from collections.abc import Iterator

import torch
from playwright.sync_api import Browser

from bench.browser import chromium
from bench.figure import Figure, median_ms
from bench.serving import HOME, Server, serving
from inference.gemma.model import Gemma
from inference.gemma.origin import find
from inference.gemma.sites import Site

MODEL = "gemma-3-270m"
TOKENS, TEXTS = 60, 8
WORDS = ("river", "stone", "paper", "window", "number", "garden", "winter", "letter", "bridge", "silver", "valley")
PAINTED = """
    () => new Promise(done => {
        const started = performance.now();
        const watch = new MutationObserver(() => {
            if (document.querySelectorAll('#answer .map tbody tr').length < 22) return;
            watch.disconnect();
            requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - started)));
        });
        watch.observe(document.getElementById('answer'), {childList: true, subtree: true});
        document.getElementById('ask').requestSubmit();
    })
"""


def figures() -> Iterator[Figure]:
    with serving(HOME / "live") as server:
        server.seconds_until("live")
        # Nothing is to be loaded beside what is timed.
        server.seconds_until("starter")
        texts = [_text(server, seed) for seed in range(TEXTS + 1)]
        with chromium() as browser:
            times = [_painted(browser, server, text) for text in texts][1:]
    model = Gemma.load(find(MODEL, home=HOME / "live", offline=True))
    ids = torch.randint(1000, 100_000, (1, TOKENS))
    bare = median_ms(lambda: model.read_sites(ids, [Site("resid_post", model.n_layers - 1)]))
    yield Figure(
        name=f"live page: {TOKENS} new tokens to the painted map over all starter sources, median of {TEXTS}",
        value=statistics.median(times),
        unit="ms",
        bound=500,
        detail={"most": round(max(times)), "bare_ms": round(bare)},
    )


def _text(server: Server, seed: int) -> str:
    """Words that come to as many tokens, BOS included."""
    dice = random.Random(seed)
    text = "The"
    while _count(server, longer := f"{text} {dice.choice(WORDS)}") <= TOKENS:
        text = longer
    return text


def _count(server: Server, text: str) -> int:
    body = json.dumps({"model": MODEL, "text": text, "prepend_bos": True}).encode()
    asked = urllib.request.Request(f"{server.url}/v1/tokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return len(json.load(answer)["tokens"])


def _painted(browser: Browser, server: Server, text: str) -> float:
    page = browser.new_page()
    try:
        page.goto(f"{server.url}/{MODEL}/live")
        page.get_by_role("textbox", name="Text", exact=True).fill(text)
        return float(page.evaluate(PAINTED))
    finally:
        page.close()
