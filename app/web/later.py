"""Rooms that join the house after its start, because reading what they are made of takes longer than all the others.

Their addresses have a beginning that no other room's has. A request for one of them waits until they are in, without
holding up others; who serves lets them in once pages are served, so that hardly anybody waits. Whoever has to know
every route, as the documents and the tests of the policy do, lets them in first.
"""

import asyncio
import re
from collections.abc import Callable, Iterable

from fastapi import APIRouter
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send


class Later:
    """Of one application: they get the place behind the routes that it has now."""

    def __init__(
        self, routes: list[BaseRoute], *, below: re.Pattern[str], load: Callable[[], Iterable[APIRouter]]
    ) -> None:
        self._routes = routes
        self._before = routes[-1]
        self._below = below
        self._load = load
        self._are_in = False

    def keeps(self, path: str) -> bool:
        """Whether the route for this path may still be missing."""
        return not self._are_in and self._below.match(path) is not None

    async def let_in(self) -> None:
        """What is slow happens in a thread; several at once wait for the same modules."""
        await asyncio.to_thread(self._load)
        self.let_in_now()

    def let_in_now(self) -> None:
        if not self._are_in:
            place = self._routes.index(self._before) + 1
            self._routes[place:place] = [route for router in self._load() for route in router.routes]
            self._are_in = True


class WaitForLater:
    """Makes requests for such rooms wait; before the gate, which must know whose route it guards."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            later: Later = scope["app"].state.later
            if later.keeps(scope["path"].removeprefix(scope.get("root_path", ""))):
                await later.let_in()
        await self.app(scope, receive, send)
