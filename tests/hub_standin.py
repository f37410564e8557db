"""A Hugging Face hub on this machine: folders served as repositories, with the hub's own paths, headers and errors.

    with HubStandIn() as hub:
        hub.add("google/gemma-3-270m", folder, gated=True)
        ... HF_ENDPOINT=hub.url ...

`Reader` is the token that has accepted everybody's terms; `Stranger` is a valid one that has not. The fixture `hub`
(conftest) points `huggingface_hub` at it with an empty cache and no token.
"""

import hashlib
import json
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

READER = "hf_reader"
STRANGER = "hf_stranger"

_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?")
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass(frozen=True)
class Repository:
    folder: Path
    gated: bool
    private: bool

    @property
    def files(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }

    @property
    def commit(self) -> str:
        """Changes with the content, as a commit's hash does."""
        digest = hashlib.sha1()
        for name, data in self.files.items():
            digest.update(f"{name} {hashlib.sha1(data).hexdigest()}\n".encode())
        return digest.hexdigest()


class HubStandIn:
    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        """What was asked: `GET /api/models/...`."""
        self.failures: dict[str, int] = {}
        """Statuses to answer wherever the key is part of the path."""
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, repo: str, folder: Path, *, gated: bool = False, private: bool = False) -> str:
        """Serves a folder as a repository and returns its commit."""
        self.repositories[repo] = Repository(folder=Path(folder), gated=gated, private=private)
        return self.repositories[repo].commit

    def downloads(self) -> list[str]:
        """The files that were sent."""
        return [
            request.split("/", 4)[-1]
            for request in self.requests
            if request.startswith("GET") and "/resolve/" in request
        ]

    def __enter__(self) -> "HubStandIn":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """From now on nobody answers at this address."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: HubStandIn
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body=True, asked=asked)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: tests read `requests`."""

    def _answer(self, *, body: bool, asked: bytes = b"") -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        for part, status in self.hub.failures.items():
            if part in path:
                return self._error(status, "", "Made to fail.")
        api, file = _API.fullmatch(path), _FILE.fullmatch(path)
        name = (api or file)[1] if api or file else ""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        repository = self.hub.repositories.get(name)
        if token and token not in (READER, STRANGER):
            return self._error(401, "", "Invalid credentials in Authorization header")
        if repository is None or (repository.private and token != READER):
            return self._error(404 if token else 401, "RepoNotFound", "Repository not found")
        revision = (api and api[3]) or (file and file[2]) or "main"
        if revision not in ("main", repository.commit):
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if api:
            return self._json(self._described(name, repository, api[2], asked), body=body)
        assert file is not None
        if repository.gated and token != READER:
            return self._error(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted.")
        data = repository.files.get(file[3])
        if data is None:
            return self._error(404, "EntryNotFound", "Entry not found")
        return self._file(data, repository, large=file[3].endswith(".safetensors"), body=body)

    def _described(self, name: str, repository: Repository, what: str | None, asked: bytes) -> object:
        entries = [_entry(path, data) for path, data in repository.files.items()]
        if what == "tree":
            return entries
        if what == "paths-info":
            wanted = json.loads(asked)["paths"]
            return [entry for entry in entries if entry["path"] in wanted]
        return {
            "id": name,
            "modelId": name,
            "sha": repository.commit,
            "private": repository.private,
            "gated": "manual" if repository.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": path} for path in repository.files],
        }

    def _file(self, data: bytes, repository: Repository, *, large: bool, body: bool) -> None:
        etag = hashlib.sha256(data).hexdigest() if large else _git_hash(data)
        start = 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(match[1])
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", repository.commit)
        self.send_header("ETag", f'"{etag}"')
        if large:
            self.send_header("X-Linked-Etag", f'"{etag}"')
            self.send_header("X-Linked-Size", str(len(data)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if body:
            self.wfile.write(data[start:])

    def _json(self, value: object, *, body: bool, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for header, text in (headers or {}).items():
            self.send_header(header, text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _error(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self._json({"error": message}, body=self.command != "HEAD", status=status, headers=headers)


def _entry(path: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": _git_hash(data)}
    if path.endswith(".safetensors"):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
