"""What an engine may be told: which model, on what device, and how much it may take. Plain data, no torch.

Bytes are budgets, not promises: None lets the engine choose by the device it finds (`holdings`, `memory`)."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Limits carry their unit in their name."""

    model: str
    home: Path
    model_path: Path | str | None = None
    """A folder of safetensors, a GGUF file or hf:owner/name@revision to load instead of what is published."""
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    """CPU threads; 0 chooses by what the machine has and what else runs on it."""
    offline: bool = False
    hf_token: str | None = field(default=None, repr=False)

    max_prompt_tokens: int = 1024
    max_prompts: int = 256
    """Prompts in one request."""
    max_top_features: int = 1000
    """Largest k of top features and of next tokens."""
    max_generated_tokens: int = 1024
    generations_limit: int = 4
    """Continuations that run side by side; further ones wait."""
    queue_limit: int = 32
    """Requests that may wait for the device; the next one is told to come back."""
    lease_limit_seconds: float = 60.0
    """The longest that the device is lent in one piece."""
    batch_tokens: int = 4096
    """Tokens, padding included, of one forward pass."""
    open_seconds: float = 20.0
    """How long a request waits for a dictionary that is used for the first time."""
    gather_seconds: float = 0.002
    """How long a free device waits for requests that are already being read, so that they share its next pass."""

    cache_bytes: int = 128 << 20
    """For the site activations of recent prompts."""
    device_bytes: int | None = None
    """For dictionaries on the device."""
    host_bytes: int = 2048 << 20
    """For dictionaries copied into host memory and not on the device."""
    max_answer_bytes: int = 512 << 20
    """Of one answer."""
    work_bytes: int | None = None
    """For what one micro-batch needs while it is computed."""
