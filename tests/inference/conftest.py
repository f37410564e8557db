"""Random numbers of torch are the same at each run, as pytest-randomly sees to those of the other libraries."""

import pytest


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch

    torch.manual_seed(0)
