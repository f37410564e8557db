"""Where engines may listen, and that their sockets are short and private."""

import os
import socket
from pathlib import Path

import pytest

from inference.engine.address import engine_socket, is_loopback, listening, private_folder, split
from inference.errors import BadInput, Unavailable
from tests.inference.engine.serving import short_folder


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("unix:/run/e.sock", Path("/run/e.sock")),
        ("5002", ("127.0.0.1", 5002)),
        (":5002", ("127.0.0.1", 5002)),
        ("0.0.0.0:5002", ("0.0.0.0", 5002)),
        ("[::1]:5002", ("::1", 5002)),
    ],
)
def test_an_address_is_a_socket_or_a_port_of_loopback_unless_told(address: str, found: object) -> None:
    assert split(address) == found


@pytest.mark.parametrize(
    "address", ["", "unix:", "unix:relative", "unix:/" + "x" * 100, "host", "host:70000", "http://a:1"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match=r"write unix:|too long"):
        split(address)


def test_loopback_is_known() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "gpu1", "10.0.0.1")] == [False] * 4


def test_a_short_home_keeps_its_socket_and_a_deep_one_gets_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with short_folder() as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        home = Path(folder) / "home"
        assert engine_socket(home, "gemma-3-270m") == home / "run" / "engine-gemma-3-270m.sock"
        deep = home / ("x" * 60) / ("y" * 60)
        path = engine_socket(deep, "gemma-3-270m")
        assert len(os.fsencode(path)) <= 100
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path == engine_socket(deep, "gemma-3-270m")
        assert path != engine_socket(deep / "other", "gemma-3-270m")
        assert path != engine_socket(deep, "gemma-3-1b")


def test_a_folder_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(BadInput, match="belongs to somebody else"):
        private_folder(tmp_path / "link")
    monkeypatch.setattr("os.getuid", lambda: 4242)
    with pytest.raises(BadInput, match="belongs to somebody else"):
        private_folder(tmp_path)


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_socket_is_its_owners_alone_and_gone_afterwards() -> None:
    with short_folder() as folder:
        path = Path(folder) / "sub" / "e"
        with listening(f"unix:{path}"):
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
        assert not path.exists()


def test_a_port_in_use_is_told_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{port}"), listening(str(port)):
            pass


@pytest.mark.parametrize("address", ["0.0.0.0:0", ":::0"])
def test_every_interface_is_open_only_with_a_secret(address: str) -> None:
    with pytest.raises(BadInput, match="needs a secret"), listening(address):
        pass
    with listening("0.0.0.0:0", secret="s3cret") as bound:
        assert bound.getsockname()[0] == "0.0.0.0"
