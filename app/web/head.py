"""HEAD wherever there is a GET: the rooms are asked for the page, and the server leaves its body out, as for every
HEAD. Those who check links ask so, and `curl -I`."""

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """To stand right before the rooms: what stands farther out is still told the truth."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        asked = {**scope, "method": "GET"}
        try:
            await self.app(asked, receive, send)
        finally:
            # For who counts requests by route.
            scope["route"] = asked.get("route")
