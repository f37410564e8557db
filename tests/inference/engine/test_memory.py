"""Estimates are never below what is really taken, nor far above; measured by counting every live tensor's bytes."""

import weakref
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from inference.engine import memory
from inference.engine.memory import is_out_of_memory, readable
from inference.engine.workshop import shape_of
from inference.gemma.checkpoint import Checkpoint
from inference.gemma.gradients import logit_gradient
from inference.gemma.model import Gemma
from inference.gemma.sites import Site
from tests.tiny import tiny_config, tiny_network, tiny_tokenizer


class LiveBytes(TorchDispatchMode):
    """The most bytes of storages made meanwhile that were alive at once; the model's own do not count."""

    def __init__(self, model: Gemma) -> None:
        super().__init__()
        self.now = self.peak = 0
        kept = [*model.network.parameters(), *model.network.buffers()]
        self._seen = {tensor.untyped_storage()._cdata for tensor in kept}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._seen:
            return
        self._seen.add(key)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


@pytest.fixture(scope="module")
def wide(tiny: Checkpoint) -> Gemma:
    """Wide enough that activations outweigh what every pass takes besides."""
    from inference.gemma.tokens import Tokenizer

    network = tiny_network(tiny_config(hidden_size=128, intermediate_size=512, head_dim=32))
    network.requires_grad_(False)
    return Gemma(checkpoint=tiny, tokenizer=Tokenizer(tiny_tokenizer()), network=network, device=torch.device("cpu"))


@pytest.mark.parametrize(("prompts", "length"), [(1, 40), (1, 300), (6, 60), (16, 17)])
def test_a_pass_takes_no_more_than_is_said(wide: Gemma, prompts: int, length: int) -> None:
    ids = torch.randint(3, 500, (prompts, length))
    sites = [Site("resid_post", 3), Site("mlp_in", 0), Site("attn_out", 1)]
    with LiveBytes(wide) as live:
        read = wide.read_sites(ids, sites)
    widths = [value.shape[-1] for value in read.values()]
    said = memory.pass_bytes(shape_of(wide), prompts=prompts, length=length, site_widths=widths)
    assert live.peak <= said <= 8 * live.peak


@pytest.mark.parametrize("length", [20, 200])
def test_a_gradient_takes_no_more_than_is_said(wide: Gemma, length: int) -> None:
    ids = torch.randint(3, 500, (1, length))
    with LiveBytes(wide) as live:
        logit_gradient(wide, ids, position=length - 1, token=5, sites=[Site("resid_post", 0)])
    said = memory.gradient_bytes(shape_of(wide), length=length)
    assert live.peak <= said <= 8 * live.peak


def test_estimates_grow_with_what_is_asked(wide: Gemma) -> None:
    shape = shape_of(wide)
    passes = [memory.pass_bytes(shape, prompts=prompts, length=64) for prompts in (1, 2, 4)]
    assert passes == sorted(passes)
    lengths = [memory.pass_bytes(shape, prompts=1, length=length) for length in (1, 64, 1024)]
    assert lengths == sorted(lengths)
    assert memory.pass_bytes(shape, prompts=1, length=9, site_widths=[128]) > memory.pass_bytes(
        shape, prompts=1, length=9
    )


def test_a_block_of_rows_stays_within_its_bytes() -> None:
    assert memory.rows_per_block(width=16384, limit_bytes=256 << 20) * 16384 * 13 <= 256 << 20
    assert memory.rows_per_block(width=10**9, limit_bytes=1) == 1


def test_bytes_as_people_read_them() -> None:
    assert [readable(count) for count in (0, 1023, 1536, 5 << 20, 3 << 40)] == [
        "0 bytes",
        "1023 bytes",
        "1.5 KiB",
        "5.0 MiB",
        "3072.0 GiB",
    ]


def test_running_out_of_memory_is_told_from_other_errors() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
