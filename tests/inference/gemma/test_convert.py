"""Conversion is whole or not there: killed, out of space, or done twice at once."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from inference.errors import Unavailable
from inference.gemma.checkpoint import Checkpoint, read_record
from inference.gemma.convert import convert_gguf, place_of
from inference.gemma.weights_file import write_weights
from tests.tiny_gguf import write_gguf

SHA256 = "ab" * 32


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def whole(file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted conversion makes."""
    return contents(convert(file, tmp_path_factory.mktemp("home")).folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def convert(file: Path, home: Path, **changes: Any) -> Checkpoint:
    return convert_gguf(lambda _: file, sha256=SHA256, model="gemma-3-tiny", origin="test", home=home, **changes)


def place(home: Path) -> Path:
    return place_of(home, model="gemma-3-tiny", sha256=SHA256, dtype="bfloat16")


def left_overs(home: Path) -> list[str]:
    return [path.name for path in (home / "checkpoints").iterdir() if ".partial-" in path.name]


def test_a_second_call_finds_the_first_ones_folder(file: Path, tmp_path: Path) -> None:
    first = convert(file, tmp_path)
    assert (
        convert_gguf(
            lambda _: pytest.fail("converted again"), sha256=SHA256, model="gemma-3-tiny", origin="test", home=tmp_path
        )
        == first
    )
    assert sorted(contents(first.folder)) == ["checkpoint.json", "config.json", "model.safetensors", "tokenizer.json"]
    record = json.loads((first.folder / "checkpoint.json").read_text())
    assert record["origin"] == "test, F32"
    assert record["created_by"].startswith("gemlens ")


def test_progress_rises_to_one_and_says_what_is_done(file: Path, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []
    convert(file, tmp_path, progress=lambda fraction, sentence: told.append((fraction, sentence)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert any("tokenizer" in sentence for _, sentence in told)
    assert any("model.layers.1.mlp.up_proj.weight" in sentence for _, sentence in told)


@pytest.mark.parametrize("die_at", ["Reading", "layers.2.mlp.up_proj", "model.norm"])
def test_a_killed_conversion_leaves_nothing_that_is_used(
    file: Path, tmp_path: Path, whole: dict[str, bytes], die_at: str
) -> None:
    script = """
import sys, time
from pathlib import Path
from inference.gemma.convert import convert_gguf
file, home, sha256, die_at = sys.argv[1:]
def progress(fraction, sentence):
    if die_at in sentence:
        print("here", flush=True)
        time.sleep(60)
names = {"model": "gemma-3-tiny", "origin": "test", "sha256": sha256}
convert_gguf(lambda _: Path(file), home=Path(home), progress=progress, **names)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(file), str(tmp_path), SHA256, die_at], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not place(tmp_path).exists()
    assert len(left_overs(tmp_path)) == 1
    assert contents(convert(file, tmp_path).folder) == whole
    assert left_overs(tmp_path) == []


class FailsAtWrite:
    """Every file opened for writing shares one count; the N-th write finds the disk full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, nth: int) -> None:
        self.count = 0
        plain_open = Path.open

        def opened(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
            file = plain_open(path, mode, *rest, **named)
            if "w" in mode:
                write = file.write

                def counted(data: Any) -> int:
                    self.count += 1
                    if self.count == nth:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    return int(write(data))

                if isinstance(file, io.TextIOWrapper | io.BufferedWriter):
                    file.write = counted  # type: ignore[method-assign]
            return file

        monkeypatch.setattr(Path, "open", opened)


def test_a_disk_that_fills_at_any_write_leaves_nothing_and_says_so(
    file: Path, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        writes = FailsAtWrite(patch, nth=-1)
        convert(file, tmp_path / "counting")
    assert writes.count > 50
    for nth in [1, 2, 3, *range(4, writes.count - 3, 9), writes.count - 1, writes.count]:
        with monkeypatch.context() as patch:
            FailsAtWrite(patch, nth=nth)
            with pytest.raises(Unavailable, match="is full, so nothing was kept"):
                convert(file, tmp_path / "home")
        assert not place(tmp_path / "home").exists()
        assert left_overs(tmp_path / "home") == []
    assert contents(convert(file, tmp_path / "home").folder) == whole


def test_too_little_space_is_seen_before_anything_is_written(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(Unavailable, match=r"0\.0 GB free, and 0\.1 GB are needed"):
        convert(file, tmp_path)
    assert left_overs(tmp_path) == []


def test_a_damaged_result_is_made_anew(file: Path, tmp_path: Path, whole: dict[str, bytes]) -> None:
    folder = convert(file, tmp_path).folder
    (folder / "model.safetensors").write_bytes(b"short")
    assert read_record(folder) is None
    assert contents(convert(file, tmp_path).folder) == whole
    (folder / "checkpoint.json").write_text("{")
    assert contents(convert(file, tmp_path).folder) == whole


def test_two_at_once_convert_once_and_the_second_says_that_it_waits(file: Path, tmp_path: Path) -> None:
    lock_file = place(tmp_path).parent / f".{place(tmp_path).name}.lock"
    lock_file.parent.mkdir(parents=True)
    waiting, made = threading.Event(), []

    def progress(fraction: float, sentence: str) -> None:
        if "another process" in sentence:
            waiting.set()

    def find(folder: Path) -> Path:
        made.append(folder)
        return file

    def work() -> None:
        convert_gguf(find, sha256=SHA256, model="gemma-3-tiny", origin="test", home=tmp_path, progress=progress)

    threads = [threading.Thread(target=work) for _ in range(2)]
    with FileLock(lock_file):
        for thread in threads:
            thread.start()
        assert waiting.wait(30)
        assert made == []
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert read_record(place(tmp_path)) is not None


def test_a_home_that_cannot_be_written_is_named(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(Unavailable, match=r"cannot be written \(Permission denied\)"):
        convert(file, tmp_path)


@pytest.mark.parametrize(("name", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_written_weights_are_read_back_by_safetensors(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    tensors = {"a": torch.randn(7, 5), "b.c": torch.randn(3), "big": torch.randn(40, 50) * 1e5}
    write_weights(
        tmp_path / "w.safetensors",
        {key: tuple(tensor.shape) for key, tensor in tensors.items()},
        {key: lambda tensor=tensor: iter(tensor.numpy().ravel()[:, None]) for key, tensor in tensors.items()},
        dtype=name,
    )
    read = load_file(tmp_path / "w.safetensors")
    assert set(read) == set(tensors)
    for key, tensor in tensors.items():
        assert torch.equal(read[key], tensor.to(dtype))
