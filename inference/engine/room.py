"""How much memory the engine takes where nobody has said: shares of what is left once the model is loaded."""

from dataclasses import dataclass

import psutil
import torch

from inference.engine.settings import EngineSettings

DICTIONARY_SHARE = 0.4
WORK_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class Room:
    device_bytes: int
    """For dictionaries on the device."""
    host_bytes: int
    """For dictionaries in host memory. On a CPU there is one memory, and `device_bytes` covers it."""
    work_bytes: int
    """For what a micro-batch needs while it is computed."""


def choose_room(settings: EngineSettings, *, free_bytes: int) -> Room:
    return Room(
        device_bytes=settings.device_bytes or int(free_bytes * DICTIONARY_SHARE),
        host_bytes=settings.host_bytes,
        work_bytes=settings.work_bytes or int(free_bytes * WORK_SHARE),
    )


def free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def used_and_total_bytes(device: torch.device) -> tuple[int, int]:
    """As a person watching the device would see it: everything that is used, by whomever."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total - free, total
    memory = psutil.virtual_memory()
    return memory.total - memory.available, memory.total
