"""How well each feature of a source tells two sets of prompts apart. Pure functions of sparse values.

A feature has one value per prompt, zero where it does not fire, so all prompts without an entry are tied at the bottom.
The AUC is the Mann-Whitney statistic over the number of pairs: the share of pairs in which the prompt of set A has the
greater value, ties counted half. It is exact. The p-value is two-sided, by the normal approximation of the same
statistic with corrections for ties and continuity. The effect size is Cohen's d, the difference of the means over the
pooled standard deviation.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

NO_SPREAD = 1e-9
"""A deviation smaller than so much of the difference of the means is rounding."""


class Entries(NamedTuple):
    """One source's values on prompts, those that are not zero, in any order."""

    prompts: np.ndarray
    """int [n]: numbers of prompts"""
    features: np.ndarray
    """int [n]"""
    values: np.ndarray
    """float32 [n], greater than zero"""


@dataclass(frozen=True, kw_only=True)
class Separation:
    """Of each feature, [f]; the features are numbered as the caller numbers them."""

    auc: np.ndarray
    effect: np.ndarray
    """Cohen's d; infinite where the sets differ and neither has any spread."""
    p: np.ndarray
    mean_a: np.ndarray
    mean_b: np.ndarray
    fired_a: np.ndarray
    """int: in how many prompts of set A it fires"""
    fired_b: np.ndarray


def separation(entries: Entries, *, features: int, in_a: np.ndarray, among: np.ndarray | None = None) -> Separation:
    """`entries.features` go from 0 to `features`; `in_a` says of each prompt whether it is of set A, `among` which
    prompts count (all by default). Both sets have at least one."""
    if among is not None:
        kept = among[entries.prompts]
        entries = Entries(*(array[kept] for array in entries))
    counted = np.ones(len(in_a), bool) if among is None else among
    n_a, n_b = int((in_a & counted).sum()), int((~in_a & counted).sum())
    n = n_a + n_b
    order = np.lexsort((entries.values, entries.features))
    feature = entries.features[order]
    values = entries.values[order].astype(np.float64)
    of_a = in_a[entries.prompts[order]].astype(np.float64)

    fired = np.bincount(feature, minlength=features)
    fired_a = np.bincount(feature, weights=of_a, minlength=features).astype(np.int64)
    silent = n - fired
    ranks, tie_sizes, tie_features = _ranks(feature, values, silent, fired)
    rank_sum = np.bincount(feature, weights=ranks * of_a, minlength=features) + (n_a - fired_a) * (silent + 1) / 2
    u = rank_sum - n_a * (n_a + 1) / 2
    cubes = np.bincount(tie_features, weights=tie_sizes**3 - tie_sizes, minlength=features)
    ties = cubes + silent.astype(np.float64) ** 3 - silent
    mean_a, deviation_a = _moments(feature, values, of_a, fired_a, n_a, features)
    mean_b, deviation_b = _moments(feature, values, 1 - of_a, fired - fired_a, n_b, features)
    return Separation(
        auc=u / (n_a * n_b),
        effect=_effect(mean_a - mean_b, deviation_a + deviation_b, n),
        p=_p_values(u, ties, n_a, n_b),
        mean_a=mean_a,
        mean_b=mean_b,
        fired_a=fired_a,
        fired_b=fired - fired_a,
    )


def corrected(p: np.ndarray, *, tests: int) -> np.ndarray:
    """Benjamini and Hochberg's q-values. Of `tests` hypotheses those that are not in `p` have a p-value of 1."""
    if not len(p):
        return p.copy()
    order = np.argsort(p, kind="stable")
    steps = p[order] * tests / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return q


def strongest(found: Separation, count: int) -> np.ndarray:
    """The features that tell the sets apart best, best first: by AUC's distance from one half, then by effect size,
    then by number."""
    return np.lexsort((-np.abs(found.effect), -np.abs(found.auc - 0.5)))[:count]


def _ranks(
    feature: np.ndarray, values: np.ndarray, silent: np.ndarray, fired: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each entry its rank among the feature's prompts, ties sharing their mean, the silent below all; and of each
    group of equal values its size and its feature. The entries are in order of feature and value."""
    if not len(feature):
        return np.empty(0), np.empty(0), np.empty(0, np.int64)
    new = np.empty(len(feature), bool)
    new[0] = True
    new[1:] = (feature[1:] != feature[:-1]) | (values[1:] != values[:-1])
    starts = np.flatnonzero(new)
    sizes = np.diff(np.append(starts, len(feature)))
    of_group = feature[starts]
    begins = np.cumsum(fired) - fired
    below = starts - begins[of_group] + silent[of_group]
    return np.repeat(below + (sizes + 1) / 2, sizes), sizes.astype(np.float64), of_group


def _moments(
    feature: np.ndarray, values: np.ndarray, weight: np.ndarray, fired: np.ndarray, n: int, features: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sum of squared deviations over one set's prompts, the silent ones included."""
    mean = np.bincount(feature, weights=values * weight, minlength=features) / n
    squares = np.bincount(feature, weights=weight * (values - mean[feature]) ** 2, minlength=features)
    return mean, squares + (n - fired) * mean**2


def _effect(difference: np.ndarray, deviations: np.ndarray, n: int) -> np.ndarray:
    endless = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))
    if n <= 2:
        return endless
    spread = np.sqrt(deviations / (n - 2))
    flat = spread <= NO_SPREAD * np.abs(difference)
    divided = difference / np.where(flat, 1.0, spread)
    return np.where(flat, endless, divided)


def _p_values(u: np.ndarray, ties: np.ndarray, n_a: int, n_b: int) -> np.ndarray:
    n = n_a + n_b
    variance = n_a * n_b / 12 * (n + 1 - ties / (n * (n - 1))) if n > 1 else np.zeros_like(u)
    distance = np.maximum(np.abs(u - n_a * n_b / 2) - 0.5, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(variance > 1e-9, distance / np.sqrt(np.maximum(variance, 1e-300)), 0.0)
    return np.fromiter((math.erfc(one / math.sqrt(2)) for one in z), np.float64, len(z))
