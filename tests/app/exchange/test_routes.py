"""Downloads over HTTP: the bytes of an export, streamed."""

import gzip
import json
from pathlib import Path

from app.exchange import giving
from app.store import sources
from tests.app.world import MODEL, SOURCES, WIDTH, World

NAME = SOURCES[1][0]
AT = f"/api/export/{MODEL}/{NAME}"


async def test_a_download_is_the_export(world: World, tmp_path: Path) -> None:
    async with world.database.session() as session:
        row = await sources.find(session, MODEL, NAME)
    for form, name in giving.STREAMED.items():
        await giving.write(world.database, row, tmp_path / form, form=form, tell=lambda _: None)
        async with world.client() as client:
            answer = await client.get(f"{AT}/{name}")
        assert answer.status_code == 200
        assert answer.content == (tmp_path / form / name).read_bytes()
        assert answer.headers["content-disposition"].startswith("attachment")
    assert len(gzip.decompress((tmp_path / "jsonl" / "features.jsonl.gz").read_bytes()).splitlines()) == WIDTH


async def test_the_manifest_says_what_it_is_of(world: World) -> None:
    async with world.client() as client:
        told = json.loads((await client.get(f"{AT}/manifest.json")).content)
    assert (told["model"], told["source"], told["checkpoint"]["sha256"]) == (MODEL, NAME, "5e" * 32)


async def test_an_unknown_source_is_a_sentence(world: World) -> None:
    async with world.client() as client:
        answer = await client.get(f"/api/export/{MODEL}/9-none/features.csv")
    assert answer.status_code == 404
    assert "has no source" in answer.text
