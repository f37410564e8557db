"""Releases, as Neuronpedia groups source sets. Here a set's name says which release it is of."""

from collections.abc import Iterable

FAMILIES = {"gemmascope-2-": "gemma-scope-2", "gemmascope-": "gemma-scope"}
"""What sets of a release begin with, the longer first."""


def release_of(set_name: str) -> str:
    """`gemmascope-2-res-16k` is of gemma-scope-2; of the others the first word, as `starter`."""
    for beginning, release in FAMILIES.items():
        if set_name.startswith(beginning):
            return release
    return set_name.partition("-")[0]


def known(set_names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(release_of(name) for name in set_names))
