"""A bucket on this machine: the same listing in XML, with pages of a few keys, and the files under their names."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 3


class Bucket:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        parts = urlsplit(path)
        if parts.path == "/":
            return 200, self._listing({name: values[0] for name, values in parse_qs(parts.query).items()})
        file = self.folder / unquote(parts.path).lstrip("/")
        return (200, file.read_bytes()) if file.is_file() else (404, b"")

    def _listing(self, asked: dict[str, str]) -> bytes:
        assert asked["list-type"] == "2"
        keys = sorted(
            key
            for path in self.folder.rglob("*")
            if path.is_file() and (key := path.relative_to(self.folder).as_posix()).startswith(asked["prefix"])
        )
        start = int(asked.get("continuation-token", "0"))
        page, rest = keys[start : start + PAGE], len(keys) > start + PAGE
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{(self.folder / key).stat().st_size}</Size>"
            f"<ETag>&quot;{hashlib.md5((self.folder / key).read_bytes()).hexdigest()}&quot;</ETag></Contents>"
            for key in page
        )
        more = f"<NextContinuationToken>{start + PAGE}</NextContinuationToken>" if rest else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<IsTruncated>{str(rest).lower()}</IsTruncated>{rows}{more}</ListBucketResult>"
        ).encode()


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, Bucket]]:
    bucket = Bucket(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = bucket.answer(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bucket
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
