import pytest

from app.web.sources import EngineCatalogue, InstalledSource, find, usual
from inference.engine.protocol import EngineError, Source
from inference.errors import NotFound
from tests.fake_engine import SOURCES, FakeEngine


def installed(name: str, layer: int, *, kind: str = "sae", width: int = 16_384) -> InstalledSource:
    source = Source(id=name, location=f"dir:/{name}", layer=layer)
    return InstalledSource(model="gemma-3-270m", source=source, kind=kind, width=width)


def test_one_starts_with_a_narrow_sae_two_thirds_of_the_way_up() -> None:
    found = [installed("a", 5), installed("b", 12, width=65_536), installed("c", 12), installed("d", 17),
             installed("t", 11, kind="transcoder")]  # fmt: skip
    assert usual(found) == found[2]
    assert usual(found[4:]) == found[4]
    assert usual([]) is None


def test_an_unknown_source_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"'x' is not installed for m. Installed: a, b\."):
        find([installed("a", 1), installed("b", 2)], "x", model="m")


def test_among_many_the_nearest_are_named() -> None:
    many = [installed(f"{layer}-gemmascope-2-res-16k", layer) for layer in range(18)]
    with pytest.raises(NotFound, match=r"The nearest installed: 12-gemmascope-2-res-16k,"):
        find(many, "12-gemmascope-2-res-16", model="m")


async def test_without_a_catalogue_the_engines_say_what_they_hold() -> None:
    catalogue = EngineCatalogue({"gemma-3-270m": FakeEngine()})
    assert await catalogue.models() == ("gemma-3-270m",)
    assert {source.id for source in await catalogue.sources("gemma-3-270m")} == {held.source.id for held in SOURCES}
    assert await catalogue.sources("gemma-3-1b") == ()


async def test_an_engine_that_is_away_holds_nothing() -> None:
    class Away(FakeEngine):
        async def ask(self, request: object, /) -> object:
            raise EngineError("unavailable", "Nobody listens.")

    assert await EngineCatalogue({"m": Away()}).sources("m") == ()
