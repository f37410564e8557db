"""One real server on the tiny model, with dictionaries of several kinds, for clients that other people wrote."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tokenizers

from tests.e2e.processes import MODEL, Server, added, new_home

if TYPE_CHECKING:
    from tests.clients.harvested import Harvested

PROMPT_TOKENS = 64
STOCK_PORT = 3000
"""The stock `neuronpedia` package speaks to no other on this machine."""
FOLDERS = (
    "resid_post/layer_1_width_96_l0_medium",
    "resid_post/layer_2_width_96_l0_medium",
    "attn_out/layer_1_width_96_l0_medium",
    "transcoder_all/layer_2_width_96_l0_medium_affine",
    "clt/width_384_l0_medium",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("clients"))


@dataclass(frozen=True)
class Installed:
    server: Server
    model_folder: Path
    folders: dict[str, Path]
    sources: dict[str, str]
    """Source ids by the folder's key; of the cross-layer one that of layer 1."""

    def ids(self, text: str) -> list[int]:
        tokenizer = tokenizers.Tokenizer.from_file(str(self.model_folder / "tokenizer.json"))
        return [2, *tokenizer.encode(text, add_special_tokens=False).ids]


@pytest.fixture(scope="session")
def installed(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The one server of all these tests, where the stock `neuronpedia` package looks for one."""
    from tests.tiny_dictionaries import write_suite

    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", STOCK_PORT)) == 0:
            pytest.fail(f"Something listens on port {STOCK_PORT}, where these tests must start a server: end it first.")
    folders = write_suite(tmp_path_factory.mktemp("clients") / "tiny")
    flags = ("--model", MODEL, "--model-path", str(tiny_folder), "--offline", "--device", "cpu", "--dtype", "float32")
    limits = ("--max-prompt-tokens", str(PROMPT_TOKENS))
    with new_home() as home, Server(home, *flags, *limits, port=STOCK_PORT) as running:
        running.wait_for_engine()
        ids = {name: added(folders[name], home) for name in FOLDERS}
        sources = {name: found[0] if len(found) == 1 else found[1] for name, found in ids.items()}
        yield Installed(server=running, model_folder=tiny_folder, folders=folders, sources=sources)


@dataclass(frozen=True)
class Stock(Installed):
    """With a harvest and labels of the first source, as they went in."""

    harvested: "Harvested"


@pytest.fixture(scope="session")
def stock(installed: Installed) -> Iterator[Stock]:
    """For the stock `neuronpedia` package, in the environment that it reads when it is imported: so tests import it in
    their functions."""
    from tests.clients.harvested import harvest

    tokenizer = installed.model_folder / "tokenizer.json"
    with asyncio.Runner() as runner:
        made = runner.run(harvest(installed.server.home, MODEL, installed.sources[FOLDERS[0]], tokenizer))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USE_LOCALHOST", "true")
        patch.setenv("NEURONPEDIA_API_KEY", "sk-np-that-nobody-here-knows")
        yield Stock(**vars(installed), harvested=made)
