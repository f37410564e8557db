"""A map of features in two dimensions, in which those whose decoder directions are alike lie together.

Made from each feature's nearest neighbours by cosine, which a harvest has found already: so nothing of the dictionary
is read, and the time grows with the number of features. A projection on two principal components would need the
vectors and show a ball, since a dictionary's directions point everywhere.

First comes a spectral layout: the two slowest ways in which a value spreads over the graph of neighbours. Then
neighbours attract and others repel each other, with the forces of t-SNE and UMAP. Every random number comes from one
seed and sums are taken in a fixed order, so the same neighbours give the same map.
"""

from collections.abc import Callable

import numpy as np

SPREADS = 80
STEPS = 160
OTHERS = 5
"""Random features that each one is repelled by in a step."""
SEED = 20_260


def lay_out(
    starts: np.ndarray, neighbours: np.ndarray, cosines: np.ndarray, *, tell: Callable[[float], None] = lambda _: None
) -> np.ndarray:
    """Places float32 [n, 2], from about -1 to 1. `starts` [n + 1] says where each feature's neighbours begin; these are
    numbers of features from 0 to n - 1."""
    count = len(starts) - 1
    if count == 0:
        return np.zeros((0, 2), np.float32)
    rng = np.random.default_rng(SEED)
    one = np.repeat(np.arange(count), np.diff(starts))
    weights = np.clip(cosines.astype(np.float64), 0.0, None)
    # Each pair from both sides: one may be among the other's nearest and not the other way round.
    first, second = np.concatenate([one, neighbours]), np.concatenate([neighbours, one])
    both = np.concatenate([weights, weights])
    places = _spread(first, second, both, count, rng)
    for step in range(STEPS):
        places = _pushed(places, first, second, both, rng, pace=0.1 * (1 - step / STEPS))
        if step % 10 == 0:
            tell(step / STEPS)
    places -= np.median(places, axis=0)
    reach = np.quantile(np.abs(places), 0.99) or 1.0
    shown: np.ndarray = np.clip(places / reach, -1.5, 1.5).astype(np.float32)
    return shown


def _spread(
    first: np.ndarray, second: np.ndarray, weights: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """The second and third eigenvectors of the graph's random walk, by repeated multiplication."""
    degree = np.sqrt(np.bincount(first, weights, count) + 1e-9)
    scaled = weights / (degree[first] * degree[second])
    still = degree / np.linalg.norm(degree)
    vectors = rng.normal(size=(count, 2))
    for _ in range(SPREADS):
        moved = np.stack([np.bincount(first, scaled * vectors[second, axis], count) for axis in (0, 1)], axis=1)
        vectors = vectors + moved
        vectors -= np.outer(still, still @ vectors)
        vectors[:, 0] /= np.linalg.norm(vectors[:, 0]) + 1e-12
        vectors[:, 1] -= vectors[:, 0] * (vectors[:, 0] @ vectors[:, 1])
        vectors[:, 1] /= np.linalg.norm(vectors[:, 1]) + 1e-12
    places = vectors / degree[:, None]
    # Ranks: what spreads slowly piles up at its ends.
    ranks = np.argsort(np.argsort(places, axis=0, kind="stable"), axis=0, kind="stable")
    side = np.sqrt(count)
    return np.asarray((ranks / max(1, count - 1) - 0.5) * side + rng.normal(scale=0.01, size=(count, 2)))


def _pushed(
    places: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    weights: np.ndarray,
    rng: np.random.Generator,
    *,
    pace: float,
) -> np.ndarray:
    """One step: neighbours come nearer, random others go away."""
    count = len(places)
    apart = places[second] - places[first]
    pull = (weights / (1 + (apart**2).sum(axis=1)))[:, None] * apart
    other = rng.integers(0, count, (OTHERS, count))
    away = places[None] - places[other]
    square = (away**2).sum(axis=2)
    push = (away / ((0.05 + square) * (1 + square))[..., None]).sum(axis=0)
    pulled = np.stack([np.bincount(first, pull[:, axis], count) for axis in (0, 1)], axis=1)
    return np.asarray(places + pace * np.clip(10 * pulled + push, -4, 4))
