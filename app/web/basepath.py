"""Serve below a path prefix, whether or not the proxy in front strips it.

`base_path` alone says what the prefix is: a header such as X-Forwarded-Prefix could be set by anyone who can reach the
server, and would end up in links. Some proxies (JupyterHub's `/proxy/absolute/`) pass the whole path, some (`/proxy/`)
strip it; both arrive here and leave as ASGI wants them, with `root_path` set and `path` containing it.
"""

from starlette.types import ASGIApp, Receive, Scope, Send


class BasePath:
    def __init__(self, app: ASGIApp, *, base_path: str) -> None:
        self.app = app
        self.base_path = base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            path: str = scope["path"]
            if path != self.base_path and not path.startswith(f"{self.base_path}/"):
                path = self.base_path + path
            # In place: the log outside this middleware reads from the scope what the router found.
            scope["root_path"] = self.base_path
            scope["path"] = path
        await self.app(scope, receive, send)
