"""Registering dictionaries in a real database."""

import asyncio

import pytest
from sqlalchemy import func, select

from app.catalogue import queries
from app.catalogue.installed import DatabaseCatalogue, as_source
from app.catalogue.register import register_source
from app.catalogue.view import Added, InstalledRow
from app.catalogue.wanted import Wanted, wanted
from app.db.database import Database
from app.db.tables import Dictionary, Model, Source, SourceSet
from inference.errors import BadInput
from tests.app.catalogue.facts import Facts

HUB = "hf:google/gemma-scope-2-1b-pt/resid_post/layer_13_width_16k_l0_medium"


async def register(database: Database, one: Wanted, facts: Facts) -> Added:
    async with database.session() as session:
        return await register_source(session, wanted=one, probed=facts)


def scope(text: str = "gemma-3-1b@13-gemmascope-2-res-16k") -> Wanted:
    (one,) = wanted(text, model=None, revision=None)
    return one


def own(location: str, model: str | None = "gemma-3-1b") -> Wanted:
    return Wanted(location=f"dir:{location}", model=model, name=None)


async def installed(database: Database) -> list[InstalledRow]:
    async with database.session() as session:
        return await queries.installed(session)


async def rows(database: Database) -> list[int]:
    async with database.session() as session:
        return [
            (await session.scalars(select(func.count()).select_from(table))).one()
            for table in (Model, Dictionary, SourceSet, Source)
        ]


async def test_a_dictionary_is_registered_once_however_often_it_is_added(database: Database) -> None:
    facts = Facts(revision="c0ffee", findings=("Something is odd.",))
    first = await register(database, scope(), facts)
    again = await register(database, scope(), facts)
    assert first == again == Added(("13-gemmascope-2-res-16k",), ("Something is odd.",))
    assert await rows(database) == [1, 1, 1, 1]
    (row,) = await installed(database)
    assert row == InstalledRow(
        model="gemma-3-1b", source="13-gemmascope-2-res-16k", layer=13, width=16_384, kind="sae", site="resid_post",
        declared_l0=60.0, location=f"{HUB}@c0ffee", revision="c0ffee", sha256="ab" * 32,
        findings=("Something is odd.",),
    )  # fmt: skip


async def test_two_who_register_at_once_make_one_source(database: Database) -> None:
    added = await asyncio.gather(*(register(database, scope(), Facts()) for _ in range(2)))
    assert added[0] == added[1]
    assert await rows(database) == [1, 1, 1, 1]


async def test_a_cross_layer_transcoder_becomes_a_source_for_each_layer(database: Database) -> None:
    one = scope("google/gemma-scope-2-270m-pt/clt/width_262k_l0_big")
    layers = range(18)
    facts = Facts(
        kind="clt", width=14_560,
        reads=tuple(f"mlp_in.{i}" for i in layers), writes=tuple(f"mlp_out.{i}" for i in layers),
    )  # fmt: skip
    added = await register(database, one, facts)
    assert added.sources == tuple(f"{i}-gemmascope-2-clt-262k-l0-big" for i in layers)
    assert await rows(database) == [1, 1, 1, 18]
    assert {row.site for row in await installed(database)} == {"mlp_in"}


async def test_moved_weights_keep_their_row(database: Database) -> None:
    await register(database, scope(), Facts(revision="old"))
    added = await register(database, scope(), Facts(revision="new"))
    assert added.findings == ()
    assert await rows(database) == [1, 1, 1, 1]
    assert [row.location for row in await installed(database)] == [f"{HUB}@new"]


async def test_other_weights_replace_the_old_ones_and_say_so(database: Database) -> None:
    await register(database, scope(), Facts(revision="old"))
    added = await register(database, scope(), Facts(revision="new", sha256="cd" * 32))
    assert "other weights before" in added.findings[0]
    assert await rows(database) == [1, 2, 1, 1]
    assert [(row.location, row.sha256) for row in await installed(database)] == [(f"{HUB}@new", "cd" * 32)]


async def test_a_source_never_changes_its_number_of_features(database: Database) -> None:
    await register(database, scope(), Facts())
    with pytest.raises(BadInput, match="16384 features; this dictionary has 512"):
        await register(database, scope(), Facts(width=512))
    assert [row.width for row in await installed(database)] == [16_384]


async def test_two_folders_of_the_same_name_get_two_ids(database: Database) -> None:
    facts = Facts(reads=("mlp_out.3",), writes=("mlp_out.3",), width=512)
    first = await register(database, own("/a/mine"), facts)
    second = await register(database, own("/b/mine"), facts)
    assert first.sources == ("3-mine",)
    assert second.sources[0].startswith("3-mine-")
    assert await register(database, own("/b/mine"), facts) == second
    assert [row.source for row in await installed(database)] == ["3-mine", second.sources[0]]


async def test_a_folder_of_ones_own_needs_a_model(database: Database) -> None:
    named = Facts(model_name="google/gemma-v3-1b-pt")
    assert (await register(database, own("/a/mine", None), named)).sources == ("13-mine",)
    assert (await installed(database))[0].model == "gemma-3-1b"
    with pytest.raises(BadInput, match=r"--model.*'gpt2'"):
        await register(database, own("/a/other", None), Facts(model_name="gpt2"))


async def test_a_layer_that_the_model_lacks_is_a_finding(database: Database) -> None:
    far = ("resid_post.30",)
    added = await register(database, own("/a/far"), Facts(reads=far, writes=far, width=8))
    assert added.findings == ("It reads layer 30, and gemma-3-1b has layers 0 to 25.",)


async def test_a_file_with_other_features_than_its_name_says_is_a_finding(database: Database) -> None:
    added = await register(database, scope(), Facts(width=512))
    assert added.findings == ("resid_post/layer_13_width_16k_l0_medium should have 16384 features; this file has 512.",)


async def test_a_folder_with_other_layers_than_its_name_says_is_refused(database: Database) -> None:
    with pytest.raises(BadInput, match="reads layers"):
        await register(database, scope(), Facts(reads=("resid_post.5",), writes=("resid_post.5",)))
    assert await rows(database) == [0, 0, 0, 0]


async def test_the_web_sees_what_is_registered(database: Database) -> None:
    catalogue = DatabaseCatalogue(database)
    assert (await catalogue.models(), await catalogue.sources("gemma-3-1b")) == ([], ())
    await register(database, scope(), Facts(revision="c0ffee"))
    assert await catalogue.models() == ["gemma-3-1b"]
    (source,) = await catalogue.sources("gemma-3-1b")
    assert (source.id, source.kind, source.width) == ("13-gemmascope-2-res-16k", "sae", 16_384)
    assert (source.source.location, source.source.layer) == (f"{HUB}@c0ffee", 13)
    assert await catalogue.source("gemma-3-1b", source.id) == source
    assert await catalogue.source("gemma-3-4b", source.id) is None
    assert await catalogue.source("gemma-3-1b", "12-gemmascope-2-res-16k") is None


def imported(source: str) -> InstalledRow:
    return InstalledRow(
        model="gemma-3-1b", source=source, layer=13, width=16_384, kind=None, site=None, declared_l0=None,
        location=None, revision=None, sha256=None, findings=(),
    )  # fmt: skip


def test_an_imported_source_is_computed_from_the_hub_where_its_id_says_which_it_is() -> None:
    assert as_source(imported("13-gemmascope-2-res-16k")).source.location == HUB
    assert as_source(imported("13-somebodys")).source.location == ""


async def test_a_dictionary_of_another_model_is_refused_with_both_widths(database: Database) -> None:
    with pytest.raises(BadInput, match=r"reads 640 numbers at resid_post.13, and gemma-3-1b has 1,152 there: .*270m"):
        await register(database, own("/a"), Facts(d_in=640))
    assert await rows(database) == [0, 0, 0, 0]
    added = await register(database, own("/a"), Facts(d_in=48))
    assert added.findings == ("It reads 48 numbers at resid_post.13, and gemma-3-1b has 1,152 there.",)
    heads = Facts(d_in=1024, reads=("attn_out.13",), writes=("attn_out.13",))
    assert (await register(database, own("/b"), heads)).findings == ()
