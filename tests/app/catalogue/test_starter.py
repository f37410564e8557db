"""The starter suite registers itself."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sqlalchemy import text

from app.catalogue import quality, queries
from app.catalogue.starter import register_starter, starter_stands
from app.db.database import Database
from tests.app.catalogue.test_quality import measured


def write(folder: Path, *, width: int = 64, seed: int = 0, skip: bool = False, config: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    tensors = {"w_enc": draw.random((8, width), "float32"), "w_dec": draw.random((width, 8), "float32")}
    if skip:
        tensors["affine_skip_connection"] = draw.random((8, 8), "float32")
    save_file(tensors, folder / "params.safetensors")
    if config:
        (folder / "config.json").write_text(json.dumps({"l0": 20, "model_name": "google/gemma-3-270m"}))


async def test_what_is_there_is_registered_once_and_again_when_it_changes(database: Database, tmp_path: Path) -> None:
    base = tmp_path / "starter" / "gemma-3-270m"
    write(base / "resid_post" / "layer_12_width_64_l0_medium")
    write(base / "transcoder_all" / "layer_3_width_64_l0_small_affine", skip=True, config=False)
    assert not await starter_stands(database, root=tmp_path)
    added = await register_starter(database, root=tmp_path)
    assert (added.sources, added.findings) == (("12-starter-res-64", "3-starter-transcoder-64"), ())
    assert (await register_starter(database, root=tmp_path)).sources == ()
    assert await starter_stands(database, root=tmp_path)
    assert await starter_stands(database, root=tmp_path / "without a suite")
    async with database.session() as session:
        transcoder, residual = await queries.installed(session)
    assert (residual.site, residual.width, residual.declared_l0, residual.kind) == ("resid_post", 64, 20.0, "sae")
    assert (transcoder.site, transcoder.declared_l0, transcoder.kind) == ("mlp_in", None, "transcoder")
    assert residual.location == f"dir:{base}/resid_post/layer_12_width_64_l0_medium"
    write(base / "resid_post" / "layer_12_width_64_l0_medium", seed=1)
    added = await register_starter(database, root=tmp_path)
    assert added.sources == ("12-starter-res-64",)
    assert "other weights before" in added.findings[0]


async def test_a_moved_checkout_keeps_its_sources(database: Database, tmp_path: Path) -> None:
    write(tmp_path / "a" / "starter" / "gemma-3-270m" / "resid_post" / "layer_12_width_64_l0_medium")
    await register_starter(database, root=tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert not await starter_stands(database, root=tmp_path / "b")
    added = await register_starter(database, root=tmp_path / "b")
    assert (added.sources, added.findings) == (("12-starter-res-64",), ())
    async with database.session() as session:
        (row,) = await queries.installed(session)
    assert row.location is not None
    assert str(tmp_path / "b") in row.location


async def test_what_cannot_be_read_stops_nobody(database: Database, tmp_path: Path) -> None:
    base = tmp_path / "starter" / "gemma-3-270m"
    write(base / "resid_post" / "layer_5_width_64_l0_medium")
    write(base / "some" / "thing")
    broken = base / "resid_post" / "layer_9_width_64_l0_medium"
    broken.mkdir()
    (broken / "params.safetensors").write_bytes(b"not at all")
    added = await register_starter(database, root=tmp_path)
    assert added.sources == ("5-starter-res-64",)
    assert len(added.findings) == 2
    assert (await register_starter(database, root=tmp_path / "nowhere")).sources == ()


async def test_what_a_dictionary_measured_comes_with_it(database: Database, tmp_path: Path) -> None:
    base = tmp_path / "starter" / "gemma-3-270m"
    write(base / "resid_post" / "layer_12_width_64_l0_medium")
    write(base / "resid_post" / "layer_9_width_64_l0_medium")
    told = {"measured": "2026-01-02T03:04:05+00:00", "figures": measured()}
    (base / "quality.json").write_text(json.dumps({"resid_post/layer_12_width_64_l0_medium": told}))
    for _ in range(2):
        await register_starter(database, root=tmp_path)
    async with database.session() as session:
        (card,) = (await quality.latest(session, "gemma-3-270m")).values()
        assert len((await session.execute(text("select 1 from evaluation"))).all()) == 1
    assert card.source == "12-starter-res-64"
    assert card.measured.isoformat() == told["measured"]
