"""On which device a model runs and in which dtype its trunk is computed.

bfloat16 where the hardware multiplies it natively, else float32. Never float16: Gemma 3's residual stream passes
65,504, where float16 ends.
"""

import torch

from inference.errors import BadInput, Unavailable

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def choose_device(asked: str) -> torch.device:
    """`auto` takes CUDA, then Apple's Metal, then the CPU."""
    if asked == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise BadInput(f"{asked[:40]!r} is not a device. Devices are auto, cpu, cuda, cuda:1 and mps.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise Unavailable("CUDA was asked for, and PyTorch finds no CUDA device here. Use --device cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Unavailable(f"{asked} was asked for, and there are {torch.cuda.device_count()} CUDA devices here.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise Unavailable("MPS was asked for, and PyTorch finds no Metal device here. Use --device cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise BadInput(f"{asked[:40]!r} is not a device that Gemlens runs on. Devices are auto, cpu, cuda and mps.")
    return device


def choose_dtype(asked: str, device: torch.device) -> torch.dtype:
    """`auto` takes bfloat16 where the hardware has it, else float32."""
    if asked == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    if asked in ("float16", "half", "fp16"):
        raise BadInput(
            "float16 is not offered: Gemma 3's residual stream passes 65,504, where float16 ends. "
            "Use bfloat16 or float32."
        )
    if asked not in DTYPES:
        raise BadInput(f"{asked[:40]!r} is not a dtype that Gemlens computes in. Use auto, bfloat16 or float32.")
    return DTYPES[asked]


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    try:
        one = torch.ones(2, 2, dtype=torch.bfloat16, device=device)
        return bool((one @ one).sum().item() == 8.0)
    except (RuntimeError, TypeError):
        return False
