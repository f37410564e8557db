"""What tests of every room share. Fixtures import what is heavy themselves: tests of the web need no torch."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from inference.gemma.checkpoint import Checkpoint
    from inference.gemma.model import Gemma
    from tests.hub_standin import HubStandIn

# Tests run beside each other, and OpenMP's threads would spin against each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> "Checkpoint":
    """A tiny random Gemma 3 on disk. `tiny.folder` is its folder."""
    from tests.tiny import tiny_checkpoint

    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_folder(tiny: "Checkpoint") -> Path:
    return tiny.folder


@pytest.fixture(scope="session")
def tiny_gemma(tiny: "Checkpoint") -> "Gemma":
    """The tiny Gemma 3, loaded on the CPU in float32."""
    from inference.gemma.model import Gemma

    return Gemma.load(tiny, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def real_checkpoint() -> "Checkpoint":
    """Gemma 3 270M, converted on first use into GEMLENS_TEST_HOME (~/.cache/gemlens-test). Mark such tests
    `real_model`."""
    from inference.gemma.origin import find

    home = Path(os.environ.get("GEMLENS_TEST_HOME", "~/.cache/gemlens-test")).expanduser()
    return find("gemma-3-270m", home=home, offline=True)


@pytest.fixture(scope="session")
def real_model(real_checkpoint: "Checkpoint") -> "Gemma":
    """Gemma 3 270M on the CPU in float32."""
    from inference.gemma.model import Gemma

    return Gemma.load(real_checkpoint, device="cpu", dtype="float32")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["HubStandIn"]:
    """A hub of the test's own, with an empty cache and no token."""
    import huggingface_hub.constants

    from tests.hub_standin import HubStandIn

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with HubStandIn() as standin:
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        yield standin
