"""Our few static files, read once, served from memory under an address that changes with their content.

`/static/gemlens.css?v=1a2b3c4d` may be kept for a year, since another content has another address. Each file is
compressed once, when it is first asked for. Only what was found at start exists, so no path can lead out of the folder.
"""

import asyncio
import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parents[2] / "static"
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    content: bytes
    media_type: str
    version: str

    @cached_property
    def compressed(self) -> bytes | None:
        """gzip, where that is smaller."""
        made = gzip.compress(self.content, compresslevel=9, mtime=0)
        return made if len(made) < 0.95 * len(self.content) else None


class Assets:
    def __init__(self, folder: Path = FOLDER) -> None:
        self._assets = {
            path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }

    def vendored(self, name: str) -> str | None:
        """The installed third-party file of that name, whatever its version; None where set-up has not run."""
        return next((path for path in self._assets if path.startswith(f"vendor/{name}-")), None)

    def url(self, path: str) -> str:
        """Relative to the base path, which ends with a slash."""
        return f"static/{path}?v={self._assets[path].version}"

    def size(self, path: str) -> int:
        """Bytes on the wire."""
        asset = self._assets[path]
        return len(asset.compressed or asset.content)

    async def serve(self, request: Request, path: str) -> Response:
        asset = self._assets.get(path)
        if asset is None:
            raise HTTPException(404)
        fresh = request.query_params.get("v") == asset.version
        etag = f'"{asset.version}"'
        headers = {"Cache-Control": FOREVER if fresh else "no-cache", "ETag": etag, "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            # Of a megabyte that takes as long as many pages.
            compressed = await asyncio.to_thread(lambda: asset.compressed)
            if compressed is not None:
                headers["Content-Encoding"] = "gzip"
                return Response(compressed, media_type=asset.media_type, headers=headers)
        return Response(asset.content, media_type=asset.media_type, headers=headers)


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(
        content=content,
        media_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        version=hashlib.sha256(content).hexdigest()[:12],
    )
