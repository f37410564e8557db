"""A server of our own to measure: `gemlens serve` on a free port, with a home that is kept between runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HOME = Path(os.environ.get("GEMLENS_BENCH_HOME", "~/.cache/gemlens-bench")).expanduser()


@dataclass(frozen=True, kw_only=True)
class Server:
    url: str
    process: subprocess.Popen[bytes]
    started: float
    """time.perf_counter() just before the command was run."""

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def state(self) -> str:
        """The engine's state, as /readyz tells it."""
        status, body = self.get("/readyz")
        engines: dict[str, Any] = json.loads(body).get("engines", {}) if status == 200 else {}
        return next((str(engine["state"]) for engine in engines.values()), "")

    def seconds_until(self, what: str, *, limit: float = 180) -> float:
        """Seconds since the start until `browsing`, `live`, the `examples` of a feature of the starter suite's first
        source, or the whole `starter` suite."""
        while time.perf_counter() - self.started < limit:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with status {self.process.returncode}")
            try:
                if self._has(what):
                    return time.perf_counter() - self.started
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            # What takes long is asked for seldom: the questions are work, too.
            time.sleep(0.02 if what == "browsing" else 0.2)
        raise RuntimeError(f"{what} took more than {limit:.0f} s")

    def _has(self, what: str) -> bool:
        match what:
            case "browsing":
                return self.get("/")[0] == 200
            case "live":
                return self.state() == "ready"
            case "examples":
                return b'"activations":[{' in self.get("/api/feature/gemma-3-270m/5-starter-res-2k/10")[1]
            case "starter":
                return b"The starter suite can be browsed" in self.get("/jobs.json")[1]
        raise ValueError(what)

    def resident_bytes(self) -> int:
        """Memory of the server and everything it started, shared pages counted once (proportional set size)."""
        family = [psutil.Process(self.process.pid)]
        family += family[0].children(recursive=True)
        # The database server is a daemon of its own, known by the folder it works in.
        family += [
            p
            for p in psutil.process_iter(["cwd"])
            if (p.info["cwd"] or "").startswith(str(self.home)) and p not in family
        ]
        return sum(process.memory_full_info().pss for process in family)

    @property
    def home(self) -> Path:
        words = self.process.args
        assert isinstance(words, list)
        return Path(words[words.index("--home") + 1])


@contextmanager
def serving(home: Path, *flags: str) -> Iterator[Server]:
    """A server, stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", "--home", str(home), "--port", str(port), "--offline", *flags],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Server(url=f"http://127.0.0.1:{port}", process=process, started=started)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
