"""`gemlens doctor`: a sane home has nothing to complain of, and each broken thing its own sentence."""

import asyncio
import http.server
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from app import doctor
from app.catalogue.commands import add_source
from app.cli import main
from app.doctor import Check, Finding, Installed, Listed, examine, isolated
from app.settings import Settings
from inference.engine.address import engine_socket
from inference.engine.protocol import VERSION, CapabilitiesAnswer, Provenance
from inference.errors import Unavailable
from tests.app.catalogue.facts import Facts, probing
from tests.app.conftest import careless_server
from tests.inference.engine.fake_engine import FakeEngine
from tests.inference.engine.serving import serving

HTMX, PLOTLY = "9.8.7", "6.5.4"
SECRET = "a-long-enough-secret"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of which the browser's files are installed."""
    root = tmp_path / "root"
    (root / "static" / "vendor").mkdir(parents=True)
    (root / "static" / "vendor" / f"htmx-{HTMX}.min.js").write_text("htmx")
    (root / "static" / "vendor" / f"plotly-basic-{PLOTLY}.min.js").write_text("plotly")
    lock = {
        "packages": {
            "node_modules/htmx.org": {"version": HTMX},
            "node_modules/plotly.js-basic-dist-min": {"version": PLOTLY},
        }
    }
    (root / "package-lock.json").write_text(json.dumps(lock))
    return root


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def settings_for(home: Path, **changes: Any) -> Settings:
    return Settings(_env_file=None, **{"home": home, "port": free_port(), **changes})


def found(findings: Iterable[Finding], part: str) -> list[Finding]:
    return [finding for finding in findings if finding.part == part]


def worst(findings: Iterable[Finding]) -> str:
    return max((finding.level for finding in findings), key=["ok", "warning", "error"].index)


# --- all of it --------------------------------------------------------------------------------------------------------


def test_a_sane_home_has_nothing_to_complain_of(tmp_path: Path, root: Path, database_url: str) -> None:
    settings = settings_for(tmp_path / "home", database_url=database_url)
    add_source(settings, "gemma-3-1b/13-gemmascope-2-res-16k", probe=probing(Facts()))
    seen: list[Installed] = []

    def deeper(installed: Sequence[Installed]) -> Iterator[Listed]:
        seen.extend(installed)
        yield "model", 5.0, lambda: [("ok", "It is here.")]

    findings = list(examine(settings, deeper=deeper, root=root))
    assert {finding.level for finding in findings} == {"ok"}
    assert list(dict.fromkeys(finding.part for finding in findings)) == [
        "home", "database", "engine", "browser files", "port", "model",
    ]  # fmt: skip
    assert "with pgvector" in found(findings, "database")[0].sentence
    assert found(findings, "database")[-1].sentence == "1 source is installed."
    assert [(row.model, row.source, row.layer) for row in seen] == [("gemma-3-1b", "13-gemmascope-2-res-16k", 13)]
    assert seen[0].location.startswith("hf:google/gemma-scope-2-1b-pt/")


def test_everything_else_is_still_looked_at_when_the_home_is_no_folder(tmp_path: Path, root: Path) -> None:
    (tmp_path / "file").touch()
    findings = list(examine(settings_for(tmp_path / "file" / "home"), root=root))
    (home,) = found(findings, "home")
    assert home.level == "error"
    assert "cannot be written to (Not a directory). Name another folder with --home." in home.sentence
    assert {finding.part for finding in findings} == {"home", "database", "engine", "browser files", "port"}
    assert [finding.level for finding in findings if finding.part != "home"].count("error") == 0


@pytest.mark.usefixtures("hub")
def test_the_command_prints_findings_and_ends_with_one_where_something_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ["doctor", "--home", str(tmp_path / "file"), "--port", str(free_port()), "--offline"]
    result = CliRunner().invoke(main, [*words, "--json"])
    assert result.exit_code == 1
    findings = json.loads(result.stdout)
    assert set(findings[0]) == {"part", "level", "sentence"}
    assert {"home", "database", "engine", "port", "model", "tokenizer", "device", "known values"} <= {
        finding["part"] for finding in findings
    }
    assert [finding["part"] for finding in findings if finding["level"] == "error"] == ["home"]


def test_the_command_ends_with_zero_where_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(settings: Settings, **_: object) -> Iterator[Finding]:
        yield Finding("home", "ok", "Fine.")
        yield Finding("port", "warning", "Hm.")

    monkeypatch.setattr(doctor, "examine", examine)
    result = CliRunner().invoke(main, ["doctor"])
    assert (result.exit_code, result.stdout) == (0, "✓ home: Fine.\n! port: Hm.\n")


# --- one check does not stop another ----------------------------------------------------------------------------------


def test_what_a_check_raises_is_its_finding() -> None:
    def raises(error: Exception) -> Iterator[tuple[str, str]]:
        yield "ok", "So far."
        raise error

    assert list(isolated(Check("a", 5, lambda: raises(Unavailable("Gone. Bring it back."))))) == [  # type: ignore[arg-type, return-value]
        Finding("a", "ok", "So far."),
        Finding("a", "error", "Gone. Bring it back."),
    ]
    (_, odd) = isolated(Check("a", 5, lambda: raises(KeyError("x\ny"))))  # type: ignore[arg-type, return-value]
    assert odd.sentence == "This could not be checked: KeyError, 'x\\ny'."


def test_a_check_that_is_silent_too_long_is_left_to_itself() -> None:
    over = threading.Event()
    begun = time.monotonic()
    (finding,) = isolated(Check("slow", 0.1, lambda: [("ok", str(over.wait(20)))]))
    over.set()
    assert time.monotonic() - begun < 5
    assert finding == Finding("slow", "error", "No answer within 0.1 seconds; the other checks go on.")


def test_a_broken_torch_is_said(tmp_path: Path, root: Path) -> None:
    def deeper(installed: Sequence[Installed]) -> Iterable[Listed]:
        raise ImportError("libcudart.so.12: cannot open shared object file")

    (finding,) = found(examine(settings_for(tmp_path), deeper=deeper, root=root), "torch")
    assert finding.level == "error"
    assert "cannot be loaded (libcudart.so.12" in finding.sentence
    assert finding.sentence.endswith("Install Gemlens again: make setup")


# --- home -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mib", "level"), [(100, "error"), (1000, "warning"), (3000, "ok")])
def test_little_space_is_said(mib: int, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=mib << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    ((told, sentence),) = doctor.check_home(tmp_path)
    assert told == level
    assert ("Free some space" in sentence) == (level != "ok")


# --- database ---------------------------------------------------------------------------------------------------------


def database(settings: Settings, root: Path) -> tuple[list[Finding], list[Installed]]:
    installed: list[Installed] = []
    check = Check("database", 60, lambda: doctor.check_database(settings, installed, root=root))
    return list(isolated(check)), installed


def test_looking_makes_no_database(tmp_path: Path, root: Path) -> None:
    findings, _ = database(settings_for(tmp_path), root)
    assert findings[0].sentence.startswith("There is none yet")
    assert worst(findings) == "ok"
    assert not (tmp_path / "postgres").exists()


def test_a_database_that_rests_is_woken_and_put_to_rest(homes: Path, root: Path) -> None:
    home = homes / "doctor"
    server = careless_server(home)
    server.start()
    server.stop()
    findings, _ = database(settings_for(home), root)
    assert worst(findings) == "ok"
    assert findings[1].sentence == "It is empty; its tables are made when gemlens serve first runs."
    assert not server.running


def test_a_newer_database_is_said(tmp_path: Path, root: Path, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    findings, _ = database(settings_for(tmp_path, database_url=database_url), root)
    assert worst(findings) == "error"
    assert "was last used by a newer Gemlens: its tables are at 9999" in findings[1].sentence
    assert "Upgrade Gemlens" in findings[1].sentence


def test_an_older_database_is_fine(tmp_path: Path, root: Path, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("update alembic_version set version_num = '0001'")
    findings, _ = database(settings_for(tmp_path, database_url=database_url), root)
    assert worst(findings) == "ok"
    assert "of an earlier Gemlens (0001)" in findings[1].sentence


def test_a_database_that_is_not_there_is_said(tmp_path: Path, root: Path) -> None:
    url = f"postgresql://gemlens@127.0.0.1:{free_port()}/gemlens"
    findings, _ = database(settings_for(tmp_path, database_url=url), root)
    assert worst(findings) == "error"
    assert "No database server answers at 127.0.0.1" in findings[-1].sentence
    findings, _ = database(settings_for(tmp_path, database_url="mysql://here"), root)
    assert "A database address looks like postgresql://" in findings[-1].sentence


# --- engine -----------------------------------------------------------------------------------------------------------


class Telling(FakeEngine):
    """Says of itself what it is told to."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.told = capabilities(**changes)

    async def ask(self, request: Any, /) -> Any:
        return self.told


def capabilities(**changes: Any) -> CapabilitiesAnswer:
    provenance = Provenance(
        model=changes.pop("model", "gemma-3-270m"), checkpoint="ab", origin="hub", dtype="float32", device="cpu",
        version=changes.pop("release", version("gemlens")),
    )  # fmt: skip
    plain: dict[str, Any] = {
        "version": VERSION, "state": "ready", "doing": "", "progress": 1.0, "provenance": provenance, "layers": 18,
        "d_model": 640, "vocabulary": 262144, "chat": False, "max_prompt_tokens": 1024, "queue_length": 0,
        "queue_limit": 32, "device_bytes_used": 0, "device_bytes_total": 0, "loaded": (),
    }  # fmt: skip
    return CapabilitiesAnswer(**plain | changes)


async def engine_told(home: Path, **changes: Any) -> tuple[str, str]:
    async with serving(Telling(**changes), address="127.0.0.1:0", secret=SECRET) as address:
        settings = settings_for(home, engines=f"gemma-3-270m={address}", engine_secret=SECRET)
        ((level, sentence),) = await asyncio.to_thread(lambda: list(doctor.check_engines(settings)))
        return level, sentence


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, "ok", "is ready: gemma-3-270m in float32 on cpu."),
        ({"state": "loading", "doing": "Reading.", "progress": 0.5}, "ok", "is loading (50%): Reading."),
        ({"state": "failed", "doing": "No weights."}, "error", "could not load its model: No weights."),
        ({"state": "draining"}, "warning", "is shutting down"),
        ({"model": "gemma-3-1b"}, "error", "has gemma-3-1b, and gemma-3-270m is asked of it"),
        ({"release": "0.0.1"}, "warning", "It is of Gemlens 0.0.1"),
        ({"version": VERSION + 1}, "error", "Run the same version on both sides"),
    ],
)
async def test_an_engine_is_asked_how_it_is(changes: dict[str, Any], level: str, words: str, tmp_path: Path) -> None:
    told, sentence = await engine_told(tmp_path, **changes)
    assert told == level
    assert words in sentence


def test_engines_that_cannot_be_reached_are_said(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    ((level, sentence),) = doctor.check_engines(settings_for(tmp_path, engines=f"gemma-3-4b={nobody}"))
    assert level == "error"
    assert sentence == f"The engine of gemma-3-4b at {nobody} cannot be reached. Start it, or correct --engines."
    assert list(doctor.check_engines(settings_for(tmp_path))) == [
        ("ok", "None runs on this home; gemlens serve starts one.")
    ]
    left_over = engine_socket(tmp_path, "gemma-3-270m")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(left_over))
    ((level, sentence),) = doctor.check_engines(settings_for(tmp_path))
    assert level == "warning"
    assert "an engine that was killed left it behind" in sentence


# --- browser files and port -------------------------------------------------------------------------------------------


def test_missing_browser_files_are_said(root: Path) -> None:
    ((level, sentence),) = doctor.check_browser_files(root)
    assert level == "ok"
    assert f"htmx-{HTMX}.min.js" in sentence
    assert f"plotly-basic-{PLOTLY}.min.js" in sentence
    (root / "static" / "vendor" / f"htmx-{HTMX}.min.js").write_text("")
    ((level, sentence),) = doctor.check_browser_files(root)
    assert level == "warning"
    assert sentence.endswith("Run: make setup")


@pytest.mark.parametrize(
    ("answer", "level", "words"),
    [
        ({"ready": True, "database": "ok", "engines": {}}, "ok", "A Gemlens serves on http://localhost:"),
        ({"hello": "world"}, "error", "is taken"),
    ],
)
def test_who_has_the_port_is_told(answer: dict[str, Any], level: str, words: str, tmp_path: Path) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            ((told, sentence),) = doctor.check_port(settings_for(tmp_path, port=server.server_port))
        finally:
            server.shutdown()
            thread.join()
    assert told == level
    assert words in sentence
