"""Every setting and every limit, as data: its name, default and unit, and one sentence on what it does.

The environment variable of a setting is its name in capitals behind `GEMLENS_`; the command line's flag is its name
with dashes. `.env.example` and the table in `docs/settings.md` are written from here (`python -m app.settings`), and a
test fails when they differ.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gemmascope.errors import UnknownName
from gemmascope.models import find_model

PREFIX = "GEMLENS_"


class Settings(BaseSettings):
    """What a person may choose. Limits carry their unit in their name."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    home: Path = Field(
        Path("~/.gemlens"), description="Folder of the database, converted models and caches; made on first use."
    )
    host: str = Field("127.0.0.1", description="Address to listen on. Anything but loopback is a shared server.")
    port: int = Field(3000, ge=1, le=65535, description="Port to listen on.")
    base_path: str = Field(
        "", description="Path prefix under which a proxy shows the site, such as /gemlens; empty for none."
    )
    allowed_hosts: str = Field(
        "", description="Host names, separated by commas, that requests may name besides loopback's; * for any."
    )
    frame_ancestors: str = Field(
        "*", description="Who may show embeds in a frame, as in Content-Security-Policy; other pages are never framed."
    )
    trusted_proxies: str = Field(
        "127.0.0.1", description="Addresses, separated by commas, whose X-Forwarded-* headers are believed."
    )

    sign_in: str = Field(
        "auto",
        description="Whether people sign in and programs need keys: always, never (whoever reaches the server may do "
        "everything), or auto: on a shared server.",
    )
    anonymous: str = Field(
        "read",
        description="What visitors who did not sign in may do on a shared server: none, read, or compute (read, and "
        "ask the model).",
    )
    session_hours: int = Field(168, ge=1, le=8760, description="How long a browser stays signed in, in hours.")
    requests_per_minute: int = Field(
        600,
        ge=0,
        description="Requests that one key, person or address may send a shared server in a minute; 0 for any.",
    )
    compute_per_minute: int = Field(60, ge=0, description="Of these, the ones that ask the model; 0 for any.")
    sign_ins_per_minute: int = Field(
        10, ge=1, description="Tries to sign in that one address may make in a minute, right or wrong."
    )
    cors_origins: str = Field(
        "",
        description="Origins, separated by commas, whose pages may call the API from a browser, with a key and never "
        "with a cookie (https://lab.example.org); * for any; empty for none.",
    )

    database_url: str | None = Field(
        None, description="A Postgres 16 or newer with pgvector; without it the embedded one under the home is used."
    )
    database_pool: int = Field(
        8, ge=1, le=100, description="Connections that the web process keeps to Postgres, and as many for reading."
    )
    statement_timeout_ms: int = Field(2000, ge=0, description="Longest statement of a page, in milliseconds.")
    lock_timeout_ms: int = Field(1000, ge=0, description="Longest wait for a lock of a page, in milliseconds.")

    model: str = Field("gemma-3-270m", description="The model that the engine loads, by its id.")
    model_path: str | None = Field(
        None,
        description="What to load instead of the model's own weights: a folder of safetensors, a GGUF file, or "
        "hf:owner/name.",
    )
    engines: str = Field(
        "",
        description="Engines elsewhere, as model=address separated by commas (gemma-3-4b-it=http://gpu1:5002); "
        "with it no engine is started here.",
    )
    engine_listen: str = Field(
        "", description="Where `gemlens engine` listens: unix:/path or host:port; empty for a socket under the home."
    )
    engine_secret: str | None = Field(
        None, description="Shared secret between the web and engines that listen on a port."
    )
    device: str = Field("auto", description="Device of the engine: auto, cpu, cuda, cuda:1 or mps.")
    dtype: str = Field("auto", description="Number format of the model: auto, bfloat16 or float32.")
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads of the engine; 0 chooses by the machine, and for short prompts by what is faster.",
    )
    offline: bool = Field(False, description="Never ask the Hugging Face hub; HF_HUB_OFFLINE=1 does the same.")
    device_mib: int = Field(
        0, ge=0, description="Most memory on the device for dictionaries and caches, in MiB; 0 chooses by the device."
    )
    host_mib: int = Field(2048, ge=0, description="Most host memory for dictionaries not on the device, in MiB.")
    cards_mib: int = Field(64, ge=0, description="Most disk under the home for drawn preview cards, in MiB.")
    cache_mib: int = Field(128, ge=0, description="Most memory for recent prompts' site activations, in MiB.")

    max_body_bytes: int = Field(1_048_576, ge=1024, description="Largest request body, in bytes.")
    max_prompt_tokens: int = Field(1024, ge=2, description="Longest prompt, in tokens.")
    max_query_bytes: int = Field(
        2048, ge=256, description="Longest prompt kept in an address, in bytes; longer ones need a saved view."
    )
    max_generated_tokens: int = Field(256, ge=1, description="Longest continuation, in tokens.")
    max_search_characters: int = Field(500, ge=1, description="Longest search text, in characters.")
    max_page_rows: int = Field(200, ge=1, description="Rows on one page of a list.")
    max_top_features: int = Field(100, ge=1, description="Strongest features that may be asked for per token.")
    queue_limit: int = Field(
        32, ge=1, description="Requests that may wait for the engine; the next one is told to come back."
    )
    engine_timeout_seconds: float = Field(60.0, gt=0, description="Longest wait for one answer of the engine.")
    drain_seconds: float = Field(20.0, ge=0, description="Time that running work gets to finish at shutdown.")
    no_worker: bool = Field(
        False, description="Start no worker beside the web; long work then waits for a `gemlens worker` elsewhere."
    )
    no_starter: bool = Field(False, description="Leave out the starter suite of Gemma 3 270M that comes with Gemlens.")
    log_format: str = Field("auto", description="console, json, or auto: console on a terminal.")

    @field_validator("home")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("model_path")
    @classmethod
    def _local_or_hub(cls, value: str | None) -> str | None:
        if value is None or value.startswith("hf:"):
            return value
        return str(Path(value).expanduser().absolute())

    @field_validator("model")
    @classmethod
    def _model_id(cls, value: str) -> str:
        """It is a part of addresses, so each model has one name here, however it is spelt elsewhere."""
        try:
            return find_model(value).id
        except UnknownName:
            if not re.fullmatch(r"\w[\w.-]*", value, re.ASCII):
                raise ValueError(
                    "a model is named by its id, such as gemma-3-270m, or, for one of your own, by letters, digits, "
                    "dots and dashes"
                ) from None
            return value

    @field_validator("base_path")
    @classmethod
    def _prefix(cls, value: str) -> str:
        value = value.strip().rstrip("/")
        if value and not value.startswith("/"):
            raise ValueError("base_path starts with a slash, such as /gemlens")
        return value

    @field_validator("dtype")
    @classmethod
    def _dtype(cls, value: str) -> str:
        if value not in ("auto", "bfloat16", "float32"):
            raise ValueError("dtype is auto, bfloat16 or float32 (float16 overflows on Gemma 3 and is not offered)")
        return value

    @field_validator("sign_in")
    @classmethod
    def _sign_in(cls, value: str) -> str:
        if value not in ("auto", "always", "never"):
            raise ValueError("sign_in is auto, always or never")
        return value

    @field_validator("anonymous")
    @classmethod
    def _anonymous(cls, value: str) -> str:
        if value not in ("none", "read", "compute"):
            raise ValueError("anonymous is none, read or compute")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in filter(None, (part.strip() for part in value.split(","))):
            if not re.fullmatch(r"\*|https?://[^/\s*?#@]+", origin):
                raise ValueError("an origin is a scheme and a host, such as https://lab.example.org, without a path")
        return value

    @property
    def shared(self) -> bool:
        """Whether it matters who asks."""
        return self.sign_in == "always" or (self.sign_in == "auto" and not self.loopback)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in ("127.0.0.1", "::1", "localhost")


def environment(settings: Settings, names: Iterable[str]) -> dict[str, str]:
    """These settings as variables for a child's environment, where a password is not in everybody's list of
    processes."""
    values = {name: getattr(settings, name) for name in names}
    return {f"{PREFIX}{name.upper()}": _shown(value) for name, value in values.items() if value is not None}


def env_example() -> str:
    """`.env.example`: every setting with its default, commented out."""
    blocks = [
        "# Settings of Gemlens. Copy to .env and uncomment what you change; flags of the command line win over these."
    ]
    for name, field in Settings.model_fields.items():
        blocks.append(f"# {field.description}\n# {PREFIX}{name.upper()}={_shown(field.default)}")
    return "\n\n".join(blocks) + "\n"


def table() -> str:
    """The table of `docs/settings.md`."""
    lines = ["| variable | flag | default | what it does |", "| --- | --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = f"`{_shown(field.default)}`" if _shown(field.default) else ""
        flag = "--" + name.replace("_", "-")
        lines.append(f"| `{PREFIX}{name.upper()}` | `{flag}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _shown(default: Any) -> str:
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def main() -> None:
    """Write the two generated files."""
    root = Path(__file__).parent.parent
    (root / ".env.example").write_text(env_example(), encoding="utf-8")
    docs = root / "docs" / "settings.md"
    head = (
        "# Settings\n\nWritten from `app/settings.py` by `python -m app.settings`. A flag wins over the environment, "
    )
    docs.write_text(head + "the environment over `.env`.\n\n" + table(), encoding="utf-8")
    sys.stdout.write("wrote .env.example and docs/settings.md\n")


if __name__ == "__main__":
    main()
