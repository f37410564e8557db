"""Gemlens as people run it: `gemlens serve` and other verbs as processes, asked over HTTP.

A home lies in a folder of its own below the temporary one, because its Postgres runs under another account when the
tests are root. Whatever a test leaves behind is found by its home and ended.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
import psutil
from click.testing import CliRunner

from app.cli import main
from inference.engine.address import engine_socket

MODEL = "gemma-3-270m"
START_SECONDS = 60.0
Found = TypeVar("Found")


def until(look: Callable[[], Found], *, seconds: float = START_SECONDS, what: str) -> Found:
    """What `look` finds as soon as it finds something true."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(0.03)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**changed: str) -> dict[str, str]:
    """Nothing of what the person who runs the tests has set; no worker, whose first job would take minutes, and none of
    the dictionaries that come with Gemlens."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GEMLENS_", "HF_"))}
    return {**kept, "OMP_NUM_THREADS": "1", "GEMLENS_NO_WORKER": "true", "GEMLENS_NO_STARTER": "true", **changed}


def gemlens(*words: str | Path, seconds: float = 60.0, **changed: str) -> "subprocess.CompletedProcess[str]":
    """One verb, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *map(str, words)],
        capture_output=True, text=True, timeout=seconds, env=environment(**changed), stdin=subprocess.DEVNULL,
    )  # fmt: skip


def added(folder: Path, home: Path, *, model: str = MODEL) -> list[str]:
    """The sources that `gemlens add` makes of a folder; from within this process, which has torch loaded already."""
    done = CliRunner().invoke(main, ["add", str(folder), "--model", model, "--home", str(home)])
    assert done.exit_code == 0, done.output
    return done.stdout.split()


def processes_of(home: Path) -> dict[int, str]:
    """Command lines, by process id, of all that live and work for this home: servers, engines, Postgres."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            told = process.environ().get("GEMLENS_HOME") == str(home)
            if process.pid != os.getpid() and (told or str(home) in line or process.cwd().startswith(str(home))):
                found[process.pid] = line
    return found


@contextmanager
def new_home(*, empty: bool = False) -> Iterator[Path]:
    """A home with nothing in it but the wish that its database take no care of its data; an `empty` one does not exist
    yet. No process and no file of it outlives the test."""
    folder = Path(tempfile.mkdtemp(prefix="gemlens-e2e-"))
    home = folder / "home"
    if not empty:
        (home / "postgres").mkdir(parents=True)
        (home / "postgres" / "own.conf").write_text("fsync = off\nfull_page_writes = off\n")
    try:
        yield home
    finally:
        for pid in processes_of(home):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


class Server:
    """`gemlens serve` on a port of its own."""

    def __init__(self, home: Path, *flags: str | Path, port: int | None = None, **changed: str) -> None:
        home.parent.mkdir(exist_ok=True)
        self.home = home
        self.port = port or free_port()
        self.url = f"http://localhost:{self.port}"
        self.engine_address = f"unix:{engine_socket(home, MODEL)}"
        self._said = (home.parent / f"said-{self.port}").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", "--home", str(home), "--port", str(self.port), *map(str, flags)],
            stdin=subprocess.DEVNULL, stdout=self._said, stderr=subprocess.STDOUT, env=environment(**changed),
        )  # fmt: skip
        self.client = httpx2.Client(base_url=self.url, timeout=30.0, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.stop()
        self._said.close()

    @property
    def said(self) -> str:
        """Everything that it printed."""
        self._said.seek(0)
        return self._said.read()

    def get(self, path: str, **parameters: Any) -> httpx2.Response:
        return self.client.get(path, params=parameters or None)

    def live(self, text: str, source: str, **parameters: Any) -> httpx2.Response:
        return self.get(f"/{MODEL}/live.json", text=text, source=source, **parameters)

    def compute(self, text: str, source: str = "") -> httpx2.Response:
        """As htmx asks for the answer's part of the live page."""
        return self.client.post(
            f"/{MODEL}/live", data={"text": text, "source": source},
            headers={"HX-Request": "true", "HX-Target": "div#answer"},
        )  # fmt: skip

    def answers(self) -> bool:
        """Whether browsing works."""
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.said}"
        with suppress(httpx2.TransportError):
            return self.get("/readyz").status_code == 200
        return False

    def wait(self) -> Self:
        until(self.answers, what=f"pages of {self.url}")
        return self

    def engine(self, model: str = MODEL) -> str:
        """The engine's state, as the health page tells it."""
        state: str = self.get("/readyz").json()["engines"][model]["state"]
        return state

    def wait_for_engine(self, model: str = MODEL) -> Self:
        self.wait()
        until(lambda: self.engine(model) == "ready", what=f"the engine of {model}")
        return self

    def engine_process(self) -> psutil.Process:
        """The supervised child."""
        (found,) = [child for child in self.children() if "engine" in child.cmdline()]
        return found

    def children(self) -> list[psutil.Process]:
        """Gemlens' own processes that it keeps."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                if "app.cli" in child.cmdline() and "serve" not in child.cmdline():
                    found.append(child)
        return found

    def postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.home / "postgres" / "data" / "postmaster.pid").read_text().split()[0]))

    def sources(self) -> set[str]:
        """What the running server knows as installed."""
        rows = self.get(f"/api/catalogue/{MODEL}/sources", installed=True).json()
        return {row["source"] for row in rows}

    def stop(self, seconds: float = 40.0) -> int:
        """Its exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
