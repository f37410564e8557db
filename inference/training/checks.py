"""Which settings of a run can be: what is refused before the model is loaded and before anything is written."""

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

from inference.errors import BadInput

if TYPE_CHECKING:
    from inference.training.config import BankConfig, TrainConfig

KINDS = ("sae", "transcoder", "clt")
SAE_SITES = ("resid_post", "attn_out", "mlp_out")
LOSSES = ("batch_topk", "jumprelu")
L0_NAMES = ("small", "medium", "big")
SAVED = ("float32", "bfloat16")
COMPUTED = ("auto", "float32", "bfloat16")
SOURCES = {
    "tokens": ("path",),
    "text": ("path",),
    "jsonl": ("path", "column"),
    "parquet": ("path", "column"),
    "dataset": ("path", "column", "revision"),
}
"""The settings of each kind of source."""
MOST_SEED = 2**32 - 1

Range = tuple[str, Callable[[float], bool]]
"""In words, and whether a finite number lies in it."""

AT_LEAST_ONE: Range = ("at least 1", lambda value: value >= 1)
NOT_NEGATIVE: Range = ("0 or more", lambda value: value >= 0)
POSITIVE: Range = ("more than 0", lambda value: value > 0)
SHARE: Range = ("from 0 to 1", lambda value: 0 <= value <= 1)

RUN_RANGES: dict[str, Range] = {
    "batch_tokens": AT_LEAST_ONE,
    "forward_tokens": AT_LEAST_ONE,
    "buffer_passes": AT_LEAST_ONE,
    "held_out_tokens": AT_LEAST_ONE,
    "log_every_steps": AT_LEAST_ONE,
    "checkpoint_every_steps": AT_LEAST_ONE,
    "seed": (f"from 0 to {MOST_SEED}", lambda value: 0 <= value <= MOST_SEED),
    "warm_up": SHARE,
    "decay": SHARE,
    "outlier_ratio": AT_LEAST_ONE,
    "time_limit_s": POSITIVE,
}
BANK_RANGES: dict[str, Range] = {
    "l0_decay": SHARE,
    "learning_rate": POSITIVE,
    "skip_learning_rate": NOT_NEGATIVE,
    "first_beta": ("at least 0 and below 1", lambda value: 0 <= value < 1),
    "dead_after_tokens": AT_LEAST_ONE,
    "auxiliary_weight": NOT_NEGATIVE,
    "auxiliary_features": AT_LEAST_ONE,
    "auxiliary_l0": AT_LEAST_ONE,
    "threshold_rate": ("more than 0 and at most 1", lambda value: 0 < value <= 1),
    "sparsity_weight": NOT_NEGATIVE,
    "sparsity_warm_up": SHARE,
    "frequency_weight": NOT_NEGATIVE,
    "bandwidth": POSITIVE,
    "first_threshold": POSITIVE,
}


def check(config: "TrainConfig") -> None:
    """What can be refused without the model."""
    if not config.banks:
        raise BadInput("There is nothing to train. Give at least one bank of dictionaries.")
    _check_ranges(config, RUN_RANGES)
    if config.tokens < config.batch_tokens:
        raise BadInput(f"{config.tokens} tokens are less than one batch of {config.batch_tokens}. Give more tokens.")
    if config.save_dtype not in SAVED:
        raise BadInput(f"Weights cannot be saved as {config.save_dtype!r}. Give one of {', '.join(SAVED)}.")
    if config.compute_dtype not in COMPUTED:
        raise BadInput(f"Products cannot be computed in {config.compute_dtype!r}. Give one of {', '.join(COMPUTED)}.")
    if config.passage_tokens < 2:
        raise BadInput("A passage needs at least two tokens: BOS, which is not trained on, and one more.")
    for bank in config.banks:
        check_bank(bank)
    for one, other in combinations(config.banks, 2):
        check_apart(one, other)


def check_source(source: Mapping[str, Any]) -> None:
    """Its kind, and the names of its settings."""
    kind = source.get("kind")
    if not isinstance(kind, str) or kind not in SOURCES:
        raise BadInput(f"{kind!r} is not a kind of source. Kinds are {', '.join(SOURCES)}.")
    names = ("kind", *SOURCES[kind])
    for name, value in source.items():
        if name not in names:
            raise BadInput(
                f"{name[:40]!r} is not a setting of a source of kind {kind}. Settings are {', '.join(names)}."
            )
        if not isinstance(value, str) and not (name == "revision" and value is None):
            raise BadInput(f"The source's {name} is {type(value).__name__}, and a string is expected.")
    if not source.get("path"):
        raise BadInput("The source lacks `path`: where its text or its token ids lie.")


def check_bank(bank: "BankConfig") -> None:
    if bank.kind not in KINDS:
        raise BadInput(f"{bank.kind!r} is not a kind of dictionary. Kinds are {', '.join(KINDS)}.")
    if bank.kind == "sae" and bank.site not in SAE_SITES:
        raise BadInput(f"An SAE cannot read {bank.site!r}. Its sites are {', '.join(SAE_SITES)}.")
    if bank.loss not in LOSSES:
        raise BadInput(f"{bank.loss!r} is not a loss. Losses are {', '.join(LOSSES)}.")
    if bank.skip and bank.kind == "sae":
        raise BadInput("An SAE has no skip connection: it would copy its input. Use skip with transcoders.")
    if bank.l0_name not in L0_NAMES:
        raise BadInput(f"{bank.l0_name!r} is not a word for an L0. Words are {', '.join(L0_NAMES)}.")
    if not 0 < bank.l0 < bank.width:
        raise BadInput(
            f"An L0 of {bank.l0:g} does not fit a width of {bank.width}: it must lie between 0 and the width."
        )
    if bank.first_l0 is not None and not 0 < bank.first_l0 < bank.width:
        raise BadInput(
            f"A first L0 of {bank.first_l0:g} does not fit a width of {bank.width}: "
            "it must lie between 0 and the width."
        )
    _check_ranges(bank, BANK_RANGES)
    if (bank.auxiliary_features or 0) > bank.width:
        raise BadInput(f"auxiliary_features is {bank.auxiliary_features}, and the width is {bank.width}: give no more.")
    check_prefixes(bank)


def check_prefixes(bank: "BankConfig") -> None:
    nested, weights = bank.nested, bank.prefix_weights
    if list(nested) != sorted(set(nested)) or nested[0] < 1 or nested[-1] != bank.width:
        raise BadInput(f"Prefixes {list(nested)} must rise and end at the width, {bank.width}.")
    if uneven := [prefix for prefix in nested if bank.width % prefix]:
        raise BadInput(
            f"The width {bank.width} is not a multiple of the prefix {uneven[0]}. Use prefixes that divide it."
        )
    if weights and len(weights) != len(nested):
        raise BadInput(f"There are {len(weights)} prefix weights for {len(nested)} prefixes.")
    if weights and not (min(weights) >= 0 and 0 < sum(weights) < math.inf):
        raise BadInput(f"Prefix weights {list(weights)} must be 0 or more, and one of them more than 0.")


def check_apart(one: "BankConfig", other: "BankConfig") -> None:
    """Refuses two banks of which one would overwrite a dictionary of the other."""
    shared = set(one.layers) & set(other.layers)
    if one.layers and other.layers and not shared:
        return
    layer = None if one.kind == "clt" else min(shared or {*one.layers, *other.layers}, default=0)
    if (one.kind == "clt") == (other.kind == "clt") and one.folder(layer) == other.folder(layer):
        raise BadInput(
            f"Two banks would both be written to {one.folder(layer)}. "
            f"Give them different layers, widths or words for the L0 (l0_name: {', '.join(L0_NAMES)})."
        )


def _check_ranges(config: "TrainConfig | BankConfig", ranges: Mapping[str, Range]) -> None:
    for name, (words, lies_in) in ranges.items():
        value = getattr(config, name)
        if value is not None and not (math.isfinite(value) and lies_in(value)):
            raise BadInput(f"{name} must be {words}, and it is {value}.")
