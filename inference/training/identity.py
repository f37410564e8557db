"""Which run a folder belongs to: a run goes on only with the settings that it began with."""

from collections.abc import Mapping
from typing import Any

from inference.training.config import TrainConfig, config_from

NOT_THE_RUN = ("out", "time_limit_s", "log_every_steps", "checkpoint_every_steps", "checkpoint", "device", "save_dtype")
"""Settings that may change when a run goes on."""


def identity_of(config: TrainConfig) -> dict[str, Any]:
    """What makes a run the one it is."""
    return {key: value for key, value in config.to_json().items() if key not in NOT_THE_RUN}


def of_earlier(found: Mapping[str, Any]) -> dict[str, Any]:
    """The identity in a run's folder, with what settings that came later stood at when there were none."""
    values = {key: value for key, value in found.items() if key != "origin"}
    return {**identity_of(config_from({"out": ".", **values})), "origin": found.get("origin")}
