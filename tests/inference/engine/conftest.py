"""One engine per test, on the tiny model and tiny dictionaries of every kind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inference.gemma.checkpoint import Checkpoint
from inference.gemma.model import Gemma
from tests.inference.engine.engines import Started, started
from tests.inference.engine.reference import Reference
from tests.tiny_dictionaries import write_suite


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_suite(tmp_path_factory.mktemp("suite"))


@pytest.fixture
async def running(tiny_gemma: Gemma, tmp_path: Path) -> AsyncIterator[Started]:
    async with started(tiny_gemma, tmp_path) as engine:
        yield engine


@pytest.fixture(scope="session")
def reference(tiny: Checkpoint) -> Reference:
    return Reference(tiny.folder)
