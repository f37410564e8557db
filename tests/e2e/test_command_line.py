"""A server that cannot start says why in one sentence, ends with a status, and leaves nothing behind."""

import os
from pathlib import Path

import pytest

from tests.e2e.processes import Server, free_port, gemlens, new_home, processes_of


def one_sentence(stderr: str) -> str:
    assert stderr.startswith("Error: "), stderr
    assert stderr.endswith((".\n", "\n")), stderr
    assert stderr.count("\n") == 1, stderr
    return stderr.removeprefix("Error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--port", "abc"), ("--port", "GEMLENS_PORT", "'abc'")),
        (("--dtype", "float16"), ("--dtype", "bfloat16", "float32", "overflows")),
        (("--base-path", "gemlens"), ("--base-path", "starts with a slash")),
        (("--queue-limit", "0"), ("--queue-limit", "'0'")),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_status_2(flags: tuple[str, str], words: tuple[str, ...]) -> None:
    done = gemlens("serve", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    said = one_sentence(done.stderr)
    for word in words:
        assert word in said


def test_the_environment_is_held_to_the_same(tmp_path: Path) -> None:
    done = gemlens("serve", "--home", tmp_path / "home", GEMLENS_MAX_PROMPT_TOKENS="many")
    assert done.returncode == 2
    assert "GEMLENS_MAX_PROMPT_TOKENS" in one_sentence(done.stderr)
    assert not (tmp_path / "home").exists()


def test_a_wrong_engine_address_is_one_sentence(tmp_path: Path) -> None:
    done = gemlens("serve", "--home", tmp_path / "home", "--port", free_port(), "--engines", "gemma-3-270m")
    assert done.returncode == 1
    assert "write model=address" in one_sentence(done.stderr)


def test_a_taken_port_is_told_before_anything_is_started(server: Server) -> None:
    with new_home(empty=True) as home:
        done = gemlens("serve", "--home", home, "--port", server.port)
        assert done.returncode == 1
        assert f"Port {server.port} of 127.0.0.1 is taken" in one_sentence(done.stderr)
        assert not home.exists()


def test_a_home_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    done = gemlens("serve", "--home", tmp_path / "home", "--port", free_port())
    assert done.returncode == 1
    said = one_sentence(done.stderr)
    assert f"The home {tmp_path / 'home'} cannot be written to" in said
    assert "--home" in said


def test_a_home_that_may_not_be_written_to_is_told() -> None:
    # Not even root may make a folder there.
    place = Path("/proc/gemlens") if os.geteuid() == 0 else Path("/gemlens")
    done = gemlens("serve", "--home", place, "--port", free_port())
    assert done.returncode == 1
    assert f"The home {place} cannot be written to" in one_sentence(done.stderr)


def test_a_database_that_is_away_is_told_without_its_password() -> None:
    with new_home(empty=True) as home:
        url = f"postgresql://someone:hidden@127.0.0.1:{free_port()}/gemlens"
        done = gemlens("serve", "--home", home, "--port", free_port(), "--database-url", url, "--offline")
        assert done.returncode == 1
        assert "hidden" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "Error: " in done.stderr
        assert processes_of(home) == {}
