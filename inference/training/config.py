"""What to train, on what, for how long: one JSON file, checked before anything is loaded.

A `BankConfig` stands for dictionaries of one shape, one per layer (or one cross-layer transcoder over all layers);
every bank of a run is trained from the same stream of forward passes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import msgspec

from gemmascope.folders import Folder
from gemmascope.widths import width_name
from inference.errors import BadInput, NotFound
from inference.gemma.sites import Site
from inference.training.checks import check, check_source


@dataclass(frozen=True, kw_only=True)
class BankConfig:
    """Dictionaries of one shape, trained side by side as one batched product."""

    width: int
    """Features per dictionary; of a cross-layer transcoder, features over all its layers."""
    l0: float
    """How many features fire per token; of a cross-layer transcoder, over all its layers."""
    kind: str = "sae"
    site: str = "resid_post"
    """What an SAE reads and writes. Transcoders read mlp_in and write mlp_out."""
    layers: tuple[int, ...] = ()
    """Empty: every layer of the model."""
    l0_name: str = "medium"
    """small, medium or big: the word in the folder's name."""
    skip: bool = False
    """An affine path beside the features, started at the least-squares map (transcoders only)."""
    begin_from: str | None = None
    """Folders of trained dictionaries to begin from, with {layer} where the number of the layer stands. Empty: from
    random directions. A cross-layer transcoder is put together from transcoders, greedily: see `beginning`."""
    first_l0: float | None = None
    """Target L0 at the beginning, from which it falls to `l0`. Empty: `l0`; for a cross-layer transcoder that begins
    from transcoders, what these declare together."""
    l0_decay: float = 0.4
    """Share of the run over which the target L0 falls."""
    loss: str = "batch_topk"
    prefixes: tuple[int, ...] = ()
    """Matryoshka: nested widths that each reconstruct alone, the last one the width. Empty: the width alone."""
    prefix_weights: tuple[float, ...] = ()
    """Share of the loss per prefix. Empty: equal shares."""
    learning_rate: float | None = None
    """Empty: 2e-4 * sqrt(16384 / width) for batch_topk, 7e-5 for jumprelu."""
    skip_learning_rate: float = 5e-5
    first_beta: float | None = None
    """Of Adam. Empty: 0.9 for batch_topk, 0 for jumprelu."""
    dead_after_tokens: int = 1_000_000
    """A feature that has not fired for so many tokens is dead, and the auxiliary loss revives it (batch_topk)."""
    auxiliary_weight: float = 1 / 32
    auxiliary_features: int | None = None
    """How many of the longest silent features the auxiliary loss may use. Empty: an eighth of the width."""
    auxiliary_l0: int = 32
    threshold_rate: float = 0.01
    """How fast the running estimate of batch_topk's threshold moves."""
    sparsity_weight: float = 1e-3
    """lambda of lambda * (2 / L0*) * (L0 - L0*)^2 (jumprelu)."""
    sparsity_warm_up: float = 0.4
    """Share of the run over which lambda rises from nothing."""
    frequency_weight: float = 1e-2
    """Of the penalty on features that fire on more than a tenth of the tokens (jumprelu)."""
    bandwidth: float = 1e-3
    first_threshold: float = 1e-3

    @property
    def rate(self) -> float:
        if self.learning_rate is not None:
            return self.learning_rate
        return 7e-5 if self.loss == "jumprelu" else 2e-4 * (16384 / self.width) ** 0.5

    @property
    def betas(self) -> tuple[float, float]:
        default = 0.0 if self.loss == "jumprelu" else 0.9
        return (default if self.first_beta is None else self.first_beta), 0.999

    @property
    def nested(self) -> tuple[int, ...]:
        return self.prefixes or (self.width,)

    @property
    def shares(self) -> tuple[float, ...]:
        weights = self.prefix_weights or (1.0,) * len(self.nested)
        return tuple(weight / sum(weights) for weight in weights)

    def folder(self, layer: int | None) -> str:
        """Where the dictionary of a layer lies below the output folder; a cross-layer transcoder has no one layer."""
        top = self.site if self.kind == "sae" else "transcoder_all" if self.kind == "transcoder" else "clt"
        layers = None if layer is None else (layer,)
        return Folder(folder=top, layers=layers, width=width_name(self.width), l0=self.l0_name, affine=self.skip).path

    def sites(self, layer: int) -> tuple[Site, Site]:
        """Read from, written to."""
        if self.kind == "sae":
            return Site(self.site, layer), Site(self.site, layer)
        return Site("mlp_in", layer), Site("mlp_out", layer)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A whole run."""

    out: Path
    """Where the dictionaries go, in Gemma Scope 2's folders; the run's own state lies in `out`/run."""
    source: Mapping[str, Any]
    """Where the text comes from: `kind` (tokens, text, jsonl, parquet, dataset), `path`, ...: see `sources`."""
    banks: tuple[BankConfig, ...]
    tokens: int
    """How many tokens to train on."""
    model: str = "gemma-3-270m"
    checkpoint: Path | None = None
    """A folder with the model's safetensors and tokenizer.json. Empty: wherever `gemlens` has the model from."""
    batch_tokens: int = 4096
    passage_tokens: int = 512
    forward_tokens: int = 16384
    buffer_bytes: int = 2_000_000_000
    """Bound on the activations held for shuffling, on the device."""
    buffer_passes: int = 1
    """How many times the activations held are trained on, each time in another order, before others take their place.
    Where the forward passes are what takes long, more make better dictionaries of little text; `tokens` counts each."""
    held_out_tokens: int = 65_536
    """Never trained on: thresholds are set and the result is measured on them."""
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"
    compute_dtype: str = "auto"
    """Of the matrix products; the weights themselves are float32. auto: bfloat16 on CUDA, else float32."""
    save_dtype: str = "bfloat16"
    warm_up: float = 0.02
    """Share of the run in which the learning rate rises along a cosine from a tenth."""
    decay: float = 0.25
    """Share of the run, at its end, in which the learning rate falls to nothing."""
    outlier_ratio: float | None = 10.0
    """Tokens whose squared distance from the middle is more than so many times the usual do not move a site's mean and
    scale, and their loss counts as if they lay at that distance. null: all tokens count alike."""
    log_every_steps: int = 50
    checkpoint_every_steps: int = 1000
    time_limit_s: float | None = None
    """Wall clock of the training itself: the schedule is shortened so that it ends in time."""

    def to_json(self) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads(json.dumps(asdict(self), default=str)))


def read_config(path: Path, **otherwise: Any) -> TrainConfig:
    """The run that a JSON file describes; `otherwise` are settings where it has none."""
    try:
        found = json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}. Give a JSON file.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadInput(f"{path} is not a JSON file: {error}.") from error
    return config_from({**otherwise, **_object(found, "The configuration")})


def config_from(found: Mapping[str, Any]) -> TrainConfig:
    """A configuration from plain values, refusing names that do not exist."""
    values = _object(found, "The configuration")
    _known(values, TrainConfig)
    missing = [name for name in ("out", "source", "banks", "tokens") if name not in values]
    if missing:
        raise BadInput(f"The configuration lacks {', '.join(missing)}.")
    for bank in values["banks"] if isinstance(values["banks"], list | tuple) else ():
        _known(_object(bank, "A bank"), BankConfig)
        if missing := [name for name in ("width", "l0") if name not in bank]:
            raise BadInput(f"A bank lacks {', '.join(missing)}.")
    check_source(_object(values["source"], "The source"))
    try:
        config = msgspec.convert(values, TrainConfig, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise BadInput(f"The configuration does not fit: {error}.") from None
    check(config)
    return config


def _object(found: Any, what: str) -> dict[str, Any]:
    if not isinstance(found, Mapping):
        raise BadInput(f"{what} is {type(found).__name__}, and an object of settings is expected.")
    return dict(found)


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise NotImplementedError(f"{kind.__name__} from {type(value).__name__}")


def _known(values: Mapping[str, Any], kind: type) -> None:
    names = [item.name for item in fields(kind)]
    for name in values:
        if name not in names:
            raise BadInput(f"{name[:40]!r} is not a setting of {kind.__name__}. Settings are {', '.join(names)}.")


def bank_layers(bank: BankConfig, n_layers: int) -> tuple[int, ...]:
    """The layers of a bank in a model, refusing those that the model lacks."""
    layers = bank.layers or tuple(range(n_layers))
    for layer in layers:
        if not 0 <= layer < n_layers:
            raise BadInput(f"Layer {layer} is not in this model, whose layers go from 0 to {n_layers - 1}.")
    if len(set(layers)) != len(layers):
        raise BadInput(f"Layers {list(layers)} name a layer twice.")
    if bank.kind == "clt" and layers != tuple(range(n_layers)):
        raise BadInput("A cross-layer transcoder covers every layer of the model. Leave its layers empty.")
    if bank.kind == "clt" and (bank.auxiliary_features or 0) > bank.width // n_layers:
        raise BadInput(
            f"auxiliary_features is {bank.auxiliary_features}, and this cross-layer transcoder has "
            f"{bank.width // n_layers} features in each of its {n_layers} layers: give no more."
        )
    if bank.kind == "clt" and any(prefix % n_layers for prefix in bank.nested):
        raise BadInput(f"A cross-layer transcoder's width and prefixes are shared out over {n_layers} layers: "
                       f"use multiples of {n_layers}.")  # fmt: skip
    return layers
