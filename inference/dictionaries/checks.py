"""Is this dictionary what it says it is? Each check tells a mistake that raises no error and gives plausible features.

`check_files` needs the weights alone. `check_measured` needs what the model does at the dictionary's sites on some
ordinary text, positions outside training (BOS; a chat's first four tokens) left out: reading the wrong place in the
model shows as an L0 far from the declared one, a transposed skip connection as a reconstruction that it makes worse.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from inference.dictionaries import single
from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.findings import Finding
from inference.dictionaries.spec import DictionarySpec
from inference.errors import BadInput
from inference.gemma.sites import Site

L0_FACTOR = 3.0
"""Measured and declared L0 further apart than this mean, in all cases known, that the wrong place was read."""

CLEARLY = 0.98
"""The transposed skip must be better by this factor before it is said that it was meant."""


def check_files(dictionary: Dictionary) -> list[Finding]:
    """What the weights and names say about themselves. Reads no large tensor again."""
    spec = dictionary.spec
    found = [Finding("warning", remark, "files") for remark in spec.remarks]
    found += _skip_as_named(spec) + _width_as_declared(spec)
    found.append(_thresholds(dictionary))
    found.append(_decoder_rows(dictionary))
    if spec.multi_layer:
        found.append(_causality(dictionary))
    return found


def check_measured(dictionary: Dictionary, activations: Mapping[Site, Tensor]) -> list[Finding]:
    """`activations` [N, width] at every site that the dictionary reads and writes, the same N tokens at each."""
    spec = dictionary.spec
    for site in {*spec.read, *spec.write}:
        if site not in activations:
            raise BadInput(
                f"Checking {spec.name} needs activations at {site}; {', '.join(map(str, activations))} came."
            )
        if len(activations[site]) < 2:
            raise BadInput(f"Checking {spec.name} needs at least two tokens; {len(activations[site])} came.")
    features = {site.layer: dictionary.encode(activations[site], layer=site.layer) for site in spec.read}
    found = [_l0(spec, features)]
    for read, write in zip(spec.read, spec.write, strict=True):
        found.append(_reconstruction(dictionary, features, x=activations[read], target=activations[write], site=write))
    return found


def fraction_unexplained(target: Tensor, reconstruction: Tensor) -> float:
    """Mean squared error over that of always answering with the mean. In float64, since outliers carry most of it."""
    target = target.to("cpu", torch.float64)
    error = (target - reconstruction.to("cpu", torch.float64)).square().sum()
    return float(error / (target - target.mean(0)).square().sum().clamp(min=1e-30))


def _skip_as_named(spec: DictionarySpec) -> list[Finding]:
    if spec.named_affine is None or spec.named_affine == spec.skip:
        return []
    says, has = ("promises", "has none") if spec.named_affine else ("names no", "has one")
    return [
        Finding("warning", f"The folder's name {says} skip connection, and the file {has}; it is believed.", "skip")
    ]


def _width_as_declared(spec: DictionarySpec) -> list[Finding]:
    if spec.declared_width in (None, spec.total_width):
        return []
    sentence = f"The configuration declares {spec.declared_width} features, and the files have {spec.total_width}."
    return [Finding("warning", sentence, "width")]


def _thresholds(dictionary: Dictionary) -> Finding:
    if dictionary.spec.architecture != "jump_relu":
        return Finding("ok", f"The activation function is {dictionary.spec.architecture}: no thresholds.", "thresholds")
    thresholds = torch.cat([dictionary.thresholds(layer) for layer in dictionary.spec.layers])
    zero = int((thresholds == 0).sum())
    numbers = {"zero": float(zero), "smallest": float(thresholds.min()), "largest": float(thresholds.max())}
    if zero:
        sentence = f"{zero} of {len(thresholds)} thresholds are zero: these features fire at any positive value."
        return Finding("warning", sentence, "thresholds", numbers)
    sentence = f"Thresholds are positive, {numbers['smallest']:.3g} to {numbers['largest']:.3g}."
    return Finding("ok", sentence, "thresholds", numbers)


def _decoder_rows(dictionary: Dictionary) -> Finding:
    norms = torch.cat([dictionary.norms(layer) for layer in dictionary.spec.layers])
    zero = int((norms == 0).sum())
    numbers = {"shortest": float(norms.min()), "median": float(norms.median()), "longest": float(norms.max())}
    if zero:
        return Finding(
            "warning", f"{zero} of {len(norms)} decoder rows are zero: these add nothing.", "decoder", numbers
        )
    sentence = f"Decoder rows are {numbers['shortest']:.3g} to {numbers['longest']:.3g} long."
    return Finding("ok", sentence, "decoder", numbers)


def _causality(dictionary: Dictionary) -> Finding:
    peak = max(dictionary.anticausal_peaks())
    if peak > 0:
        sentence = (
            f"Some latents have decoder entries for earlier layers (up to {peak:.3g}), which should be zero; they are "
            "left out, as the definition of these dictionaries says."
        )
        return Finding("warning", sentence, "causality", {"peak": peak})
    return Finding("ok", "No latent writes to a layer before its own.", "causality", {"peak": 0.0})


def _l0(spec: DictionarySpec, features: Mapping[int, Tensor]) -> Finding:
    counts = [float((values > 0).sum(1).to(torch.float64).mean()) for values in features.values()]
    measured, tokens = sum(counts), len(next(iter(features.values())))
    numbers = {"measured": measured, "tokens": float(tokens)}
    if spec.declared_l0 is None:
        sentence = f"On {tokens} tokens {measured:.1f} features fire per token; no L0 is declared to compare with."
        return Finding("ok", sentence, "l0", numbers)
    numbers["declared"] = spec.declared_l0
    # Whether a multi-layer dictionary declares the sum over its layers or one layer's share is written nowhere.
    near = any(
        spec.declared_l0 / L0_FACTOR <= candidate <= spec.declared_l0 * L0_FACTOR
        for candidate in (measured, measured / len(counts))
    )
    sentence = f"On {tokens} tokens {measured:.1f} features fire per token; {spec.declared_l0:g} are declared."
    if near:
        return Finding("ok", sentence, "l0", numbers)
    sentence += (
        f" More than a factor of {L0_FACTOR:g} apart usually means that the wrong place in the model is read (wrong "
        "hook), or another model."
    )
    return Finding("warning", sentence, "l0", numbers)


def _reconstruction(
    dictionary: Dictionary, features: Mapping[int, Tensor], *, x: Tensor, target: Tensor, site: Site
) -> Finding:
    plain = dictionary.decode(features, layer=site.layer, with_skip=False)
    without = fraction_unexplained(target, plain)
    skip = dictionary.skip_connection(site.layer)
    if skip is None:
        numbers = {"unexplained": without}
        if without > 1:
            sentence = f"At {site} {without:.3g} of the variance stays unexplained: worse than answering with the mean."
            return Finding("warning", sentence, "unexplained", numbers)
        return Finding("ok", f"At {site} {without:.1%} of the variance stays unexplained.", "unexplained", numbers)
    x = x.to(skip.device, torch.float32)
    straight = fraction_unexplained(target, plain + single.skipped(x, skip))
    numbers = {"unexplained": straight, "without_skip": without}
    if skip.shape[0] == skip.shape[1]:
        turned = fraction_unexplained(target, plain + single.skipped(x, skip.T))
        numbers["with_skip_transposed"] = turned
        if turned < min(CLEARLY * straight, without):
            sentence = (
                f"At {site} {turned:.3g} of the variance stays unexplained with the skip connection transposed and "
                f"{straight:.3g} as it is: the skip looks transposed."
            )
            return Finding("error", sentence, "skip", numbers)
    if straight >= without:
        sentence = (
            f"At {site} {straight:.3g} of the variance stays unexplained with the skip connection and {without:.3g} "
            "without: it should help, so the file or the site is wrong."
        )
        return Finding("warning", sentence, "skip", numbers)
    sentence = f"At {site} {straight:.1%} of the variance stays unexplained, {without:.1%} without the skip connection."
    return Finding("ok", sentence, "unexplained", numbers)
