"""One running server for most of these tests; tests that break something mend it again.

The limits are small, so that they can be passed with small requests.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.processes import MODEL, Server, added, new_home, until

PROMPT_TOKENS = 64
BODY_BYTES = 20_000
QUEUE = 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("e2e"))


@pytest.fixture(scope="session")
def engine_flags(tiny_folder: Path) -> tuple[str, ...]:
    """The tiny model on the CPU, in float32."""
    return ("--model", MODEL, "--model-path", str(tiny_folder), "--offline", "--device", "cpu", "--dtype", "float32")


@dataclass
class Opening:
    """What was seen between the start of a server and its engine's first answer."""

    pages: list[tuple[int, str]] = field(default_factory=list)
    """Status and text of the model's page, at each look."""
    live: list[tuple[int, str]] = field(default_factory=list)
    """Of the live page that waits for an answer."""
    states: list[str] = field(default_factory=list)
    """Of the engine, as told by the health page just after."""
    json: list[tuple[int, dict[str, object], str | None]] = field(default_factory=list)
    """Status, body and Retry-After of the live page's data."""


@pytest.fixture(scope="session")
def opening() -> Opening:
    return Opening()


@pytest.fixture(scope="session")
def server(engine_flags: tuple[str, ...], opening: Opening) -> Iterator[Server]:
    limits = ("--max-prompt-tokens", str(PROMPT_TOKENS), "--max-body-bytes", str(BODY_BYTES))
    with new_home() as home, Server(home, *engine_flags, *limits, "--queue-limit", str(QUEUE)) as running:
        running.wait()

        def look() -> bool:
            data = running.get(f"/{MODEL}/live.json", text="the user")
            opening.json.append((data.status_code, data.json(), data.headers.get("retry-after")))
            for seen, response in ((opening.pages, running.get(f"/{MODEL}")), (opening.live, running.compute("the"))):
                seen.append((response.status_code, response.text))
            opening.states.append(running.engine())
            return opening.states[-1] == "ready"

        until(look, what="the engine")
        yield running


@pytest.fixture(scope="session")
def dictionaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from tests.tiny_dictionaries import write_suite

    return write_suite(tmp_path_factory.mktemp("dictionaries") / "tiny")


@pytest.fixture(scope="session")
def source(server: Server, dictionaries: dict[str, Path]) -> str:
    """A residual SAE of layer 2, installed while the server runs."""
    (id_,) = added(dictionaries["resid_post/layer_2_width_96_l0_medium"], server.home)
    return id_
