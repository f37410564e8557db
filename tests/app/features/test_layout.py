"""Maps of features: what is alike lies together, the same every time."""

import numpy as np

from app.features.layout import lay_out


def neighbours_in_groups(groups: int, each: int, near: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every feature's neighbours are of its own group, but for one."""
    rng = np.random.default_rng(1)
    count = groups * each
    found = []
    for index in range(count):
        own = index // each * each
        others = rng.choice(np.delete(np.arange(own, own + each), index - own), near - 1, replace=False)
        found.append([*others.tolist(), int(rng.integers(count))])
    cosines = np.tile(np.linspace(0.9, 0.2, near, dtype=np.float32), count)
    return np.arange(0, count * near + 1, near), np.concatenate(found), cosines


def test_features_of_one_group_lie_together() -> None:
    starts, neighbours, cosines = neighbours_in_groups(8, 40, 10)
    places = lay_out(starts, neighbours, cosines)
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = np.argsort(apart, axis=1)[:, :10]
    same = (nearest // 40 == (np.arange(320) // 40)[:, None]).mean()
    assert same > 0.8
    assert np.isfinite(places).all()


def test_the_same_neighbours_give_the_same_map() -> None:
    given = neighbours_in_groups(4, 20, 6)
    assert np.array_equal(lay_out(*given), lay_out(*given))


def test_nothing_and_one_alone_have_their_places_too() -> None:
    nothing = np.zeros(0, np.int64)
    assert lay_out(np.zeros(1, np.int64), nothing, nothing).shape == (0, 2)
    assert np.isfinite(lay_out(np.zeros(2, np.int64), nothing, nothing)).all()
