"""Which device and dtype are chosen, on hardware that is not here too."""

import pytest
import torch

from inference.errors import BadInput, Unavailable
from inference.gemma import precision
from inference.gemma.precision import choose_device, choose_dtype

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.mark.parametrize("asked", ["float16", "half", "fp16"])
def test_float16_is_refused_with_the_reason(asked: str) -> None:
    with pytest.raises(BadInput, match="65,504"):
        choose_dtype(asked, CPU)


def test_float32_and_bfloat16_are_had_on_request() -> None:
    assert choose_dtype("float32", CPU) is torch.float32
    assert choose_dtype("bfloat16", CPU) is torch.bfloat16
    with pytest.raises(BadInput, match="'int8'"):
        choose_dtype("int8", CPU)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": False, "avx2": True}, torch.float32),
        ({"architecture": "arm64"}, torch.float32),
    ],
)
def test_a_cpu_computes_in_bfloat16_only_where_it_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert choose_dtype("auto", CPU) is expected


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_cuda_computes_in_bfloat16_from_sm80(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_dtype("auto", CUDA) is expected


def test_metal_computes_in_float32_unless_bfloat16_works_there(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = torch.ones

    def on_old_metal(*shape: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        raise TypeError("BFloat16 is not supported on MPS")

    monkeypatch.setattr(precision.torch, "ones", on_old_metal)
    assert choose_dtype("auto", MPS) is torch.float32
    monkeypatch.setattr(precision.torch, "ones", lambda *shape, dtype, device: plain(*shape, dtype=dtype))
    assert choose_dtype("auto", MPS) is torch.bfloat16


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_cuda_then_metal_then_the_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto").type == expected


def test_devices_that_are_not_here_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unavailable, match="no CUDA device"):
        choose_device("cuda")
    with pytest.raises(Unavailable, match="no Metal device"):
        choose_device("mps")
    with pytest.raises(BadInput, match="not a device"):
        choose_device("toaster")
    with pytest.raises(BadInput, match="not a device that Gemlens runs on"):
        choose_device("meta")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1").index == 1
    with pytest.raises(Unavailable, match="2 CUDA devices"):
        choose_device("cuda:2")
