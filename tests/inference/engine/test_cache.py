"""The cache keeps what was used last, within its bytes."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from inference.engine.cache import PassKey, SiteCache
from inference.gemma.sites import Site

SITE, OTHER = Site("resid_post", 1), Site("resid_post", 2)


def key(number: int) -> PassKey:
    return PassKey((2, number), "float32")


def test_the_least_recently_used_prompt_goes_first() -> None:
    cache = SiteCache(limit_bytes=1000)
    for number in (1, 2):
        cache.put(key(number), {SITE: torch.zeros(100)})
    cache.get(key(1), [SITE])
    cache.put(key(3), {SITE: torch.zeros(100)})
    assert [bool(cache.get(key(number), [SITE])) for number in (1, 2, 3)] == [True, False, True]


def test_sites_of_one_prompt_gather() -> None:
    cache = SiteCache(limit_bytes=10_000)
    cache.put(key(1), {SITE: torch.zeros(10)})
    cache.put(key(1), {OTHER: torch.zeros(20)})
    assert set(cache.get(key(1), [SITE, OTHER, Site("mlp_in", 0)])) == {SITE, OTHER}
    assert cache.used_bytes == 120


def test_precisions_are_kept_apart() -> None:
    cache = SiteCache(limit_bytes=10_000)
    cache.put(key(1), {SITE: torch.zeros(10)})
    assert cache.get(PassKey(key(1).ids, "bfloat16"), [SITE]) == {}


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([SITE, OTHER]), st.integers(1, 300)), max_size=30))
def test_bytes_are_counted_and_bounded(puts: list[tuple[int, Site, int]]) -> None:
    cache = SiteCache(limit_bytes=2000)
    for number, site, size in puts:
        cache.put(key(number), {site: torch.zeros(size)})
        held = [value for n in range(6) for value in cache.get(key(n), [SITE, OTHER]).values()]
        assert cache.used_bytes == sum(value.nbytes for value in held) <= 2000
    cache.clear()
    assert (len(cache), cache.used_bytes) == (0, 0)
