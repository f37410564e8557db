"""A source on its way out, as a stream of bytes or as a folder with its manifest.

The same rows give the same bytes: order is by index, numbers are the shortest that come back, and gzip notes no time.
A folder appears under its name only when it is whole.
"""

import errno
import hashlib
import shutil
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as parquet

from app.db.database import Database
from app.exchange import neuronpedia_out, own, queries, records, tables
from app.exchange.manifest import MANIFEST, Manifest, Written, manifest_of
from app.store.sources import HarvestRow, SourceRow, needs_harvest
from inference.errors import BadInput, Unavailable

FORMATS = ("neuronpedia", "jsonl", "csv", "parquet")
STREAMED = {"jsonl": "features.jsonl.gz", "csv": "features.csv", "parquet": "features.parquet"}
MARK = ".gemlens-export"
"""Lies in a folder until the export in it is whole: what has it may be removed."""
FULL = (errno.ENOSPC, errno.EDQUOT)
GZIP_LEVEL = 5
ROW_GROUP = 1024
Tell = Callable[[str], None]


def packer() -> Any:
    """Gzip without a time or a name in it."""
    return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)


async def manifest(database: Database, source: SourceRow, form: str) -> Manifest:
    harvest = needs_harvest(source)
    async with database.session() as session:
        tokenizer = await queries.tokenizer_sha256(session, harvest.tokenizer_id)
    return manifest_of(source, harvest, tokenizer=tokenizer, form=form)


async def jsonl(database: Database, source: SourceRow) -> AsyncIterator[bytes]:
    """Compressed lines, one feature each."""
    pack = packer()
    async for some in records.read(database, source, needs_harvest(source)):
        for record in some.records:
            if data := pack.compress(own.line(own.row_of(record, some.texts))):
                yield data
    yield pack.flush()


async def csv(database: Database, source: SourceRow) -> AsyncIterator[bytes]:
    head = True
    async for some in records.read(database, source, needs_harvest(source)):
        yield tables.csv_lines(some.records, some.texts, head=head)
        head = False


async def parquet_(database: Database, source: SourceRow) -> AsyncIterator[bytes]:
    told = msgspec.json.encode(await manifest(database, source, "parquet"))
    like = tables.schema(told)
    sink = _Sink()
    with parquet.ParquetWriter(sink, like, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        async for some in records.read(database, source, needs_harvest(source)):
            waiting.append(tables.table(some.records, some.texts, like))
            if sum(len(one) for one in waiting) >= ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting), row_group_size=ROW_GROUP * 2)
                waiting = []
                yield sink.take()
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=ROW_GROUP * 2)
    yield sink.take()


STREAMS: dict[str, Callable[[Database, SourceRow], AsyncIterator[bytes]]] = {
    "jsonl": jsonl,
    "csv": csv,
    "parquet": parquet_,
}


async def write(database: Database, source: SourceRow, folder: Path, *, form: str, tell: Tell) -> Manifest:
    """The export as a new folder, its checksums in the manifest. Raises, and leaves nothing, where it cannot be
    written."""
    told = await manifest(database, source, form)
    try:
        return await _written(database, source, folder, told, form=form, tell=tell)
    except OSError as error:
        if error.errno in FULL:
            raise Unavailable(f"The disk is full. Make room where {folder} is to be, and export again.") from None
        raise BadInput(f"{folder} cannot be written: {error.strerror}. Name a folder that can be made.") from None


async def _written(
    database: Database, source: SourceRow, folder: Path, told: Manifest, *, form: str, tell: Tell
) -> Manifest:
    making = _begin(folder)
    try:
        if form == "neuronpedia":
            told.features = await _neuronpedia(database, source, needs_harvest(source), making, told, tell)
        else:
            await _stream_into(making / STREAMED[form], STREAMS[form](database, source))
        _finish(making, folder, told)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return told


def _begin(folder: Path) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} is there already and not empty. Name another folder for the export.")
    making = folder.with_name(folder.name + ".part")
    if (making / MARK).is_file() and not making.is_symlink():
        shutil.rmtree(making)
    elif making.exists() or making.is_symlink():
        raise BadInput(f"{making} is in the way, and no export left it there. Move it, or name another folder.")
    making.mkdir(parents=True)
    (making / MARK).touch()
    return making


def _finish(making: Path, folder: Path, told: Manifest) -> None:
    (making / MARK).unlink()
    for path in sorted(path for path in making.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        told.files[path.relative_to(making).as_posix()] = Written(bytes=path.stat().st_size, sha256=sha256)
    (making / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")
    if folder.exists():
        folder.rmdir()
    making.rename(folder)


async def _stream_into(path: Path, data: AsyncIterator[bytes]) -> None:
    with path.open("wb") as file:
        async for piece in data:
            file.write(piece)


async def _neuronpedia(
    database: Database, source: SourceRow, harvest: HarvestRow, folder: Path, told: Manifest, tell: Tell
) -> int:
    async with database.session() as session:
        longest = await queries.longest(session, harvest.corpus_id)
    about = neuronpedia_out.about(source, tokens=harvest.tokens, passages_of=longest, texts=told.texts)
    for name, data in about.items():
        (folder / name).write_bytes(data)
    files = _Batches(folder)
    count = 0
    async for some in records.read(database, source, harvest):
        for record in some.records:
            rows = neuronpedia_out.rows_of(source, records.Some((record,), some.texts), texts=told.texts)
            files.add(record.index // neuronpedia_out.BATCH, rows)
            count += 1
        tell(f"{source.name}: {count:,} features.")
    files.close()
    return count


class _Batches:
    """The open files of one batch: a batch has a file in each folder where it has rows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = -1
        self._open: dict[str, tuple[Any, Any]] = {}

    def add(self, number: int, rows: neuronpedia_out.Rows) -> None:
        if number != self._number:
            self.close()
            self._number = number
        for name, lines in vars(rows).items():
            if not lines:
                continue
            if name not in self._open:
                (self._folder / name).mkdir(exist_ok=True)
                self._open[name] = ((self._folder / name / f"batch-{number}.jsonl.gz").open("wb"), packer())
            file, pack = self._open[name]
            file.write(pack.compress(b"".join(lines)))

    def close(self) -> None:
        for file, pack in self._open.values():
            file.write(pack.flush())
            file.close()
        self._open = {}


class _Sink:
    """What a Parquet writer writes into, taken away piece by piece."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._place = 0

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self._place += len(data)
        return len(data)

    def tell(self) -> int:
        return self._place

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
