"""What tests of every room share."""

from pathlib import Path

import pytest

from inference.gemma.checkpoint import Checkpoint
from inference.gemma.model import Gemma
from tests.tiny import tiny_checkpoint


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A tiny random Gemma 3 on disk. `tiny.folder` is its folder."""
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_folder(tiny: Checkpoint) -> Path:
    return tiny.folder


@pytest.fixture(scope="session")
def tiny_gemma(tiny: Checkpoint) -> Gemma:
    """The tiny Gemma 3, loaded on the CPU in float32."""
    return Gemma.load(tiny, device="cpu", dtype="float32")
