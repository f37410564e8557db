"""What torch sees to compute with, what it would choose and why, and whether the model fits."""

import shutil
from collections.abc import Iterator

import torch

from inference.engine.checkup.asked import Told
from inference.engine.checkup.patient import SPARE, Patient
from inference.engine.memory import readable
from inference.engine.room import free_bytes, used_and_total_bytes
from inference.engine.threads import set_threads
from inference.gemma.precision import choose_device, choose_dtype, has_bfloat16

HAVE = {"cpu": "AMX or AVX512-BF16", "cuda": "sm80 or newer", "mps": "Metal"}
LACK = {
    "cpu": "this processor has neither AMX nor AVX512-BF16, and would emulate bfloat16 slowly",
    "cuda": "this GPU is older than sm80, and would emulate bfloat16",
    "mps": "this Metal device has no bfloat16",
}


def check_device(patient: Patient) -> Iterator[Told]:
    asked = patient.asked
    device = choose_device(asked.device)
    threads = set_threads(asked.threads)
    yield Told("ok", f"{_name(device)}, with PyTorch {torch.__version__} and {_threads(threads)}.")
    if device.type == "cpu" and asked.device == "auto" and (unused := unused_gpu()):
        yield Told("warning", unused)
    yield Told("ok", dtype_sentence(asked.dtype, device))
    _, total = used_and_total_bytes(device)
    free = free_bytes(device)
    sentence = f"{readable(free)} of {readable(total)} memory are free."
    if patient.checkpoint is None:
        yield Told("ok", sentence)
        return
    needed = int(SPARE * patient.bytes_on(device))
    if needed <= free:
        yield Told("ok", f"{sentence} The model takes {readable(needed)}.")
    else:
        yield Told(
            "warning",
            f"{sentence} The model takes {readable(needed)}: unless an engine that runs already holds it, close "
            "something or choose a smaller model.",
        )


def dtype_sentence(asked: str, device: torch.device) -> str:
    """What the trunk is computed in, and why. Encoding is float32 everywhere."""
    chosen = str(choose_dtype(asked, device)).removeprefix("torch.")
    native = has_bfloat16(device)
    if asked == "auto":
        why = f"this device multiplies bfloat16 natively ({HAVE[device.type]})" if native else LACK[device.type]
    elif asked == "bfloat16" and not native:
        why = "as asked; this device emulates it, which is many times slower than float32"
    else:
        why = "as asked"
    return f"The model is computed in {chosen}: {why}. Features are always encoded in float32."


def unused_gpu() -> str | None:
    """A sentence where there is an NVIDIA driver that this PyTorch does not use."""
    if shutil.which("nvidia-smi") is None or torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return (
            "This machine has an NVIDIA driver, and this PyTorch is the build for CPUs. Install PyTorch's build for "
            "CUDA into the same environment."
        )
    return (
        f"This machine has an NVIDIA driver, and PyTorch (built for CUDA {torch.version.cuda}) finds no device. See "
        "whether nvidia-smi shows one, and whether the driver is new enough."
    )


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"{device}: {torch.cuda.get_device_name(device)} (sm{major}{minor})"
    return "mps: Apple's Metal" if device.type == "mps" else "cpu"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
