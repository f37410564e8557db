"""The gate of a shared server: who asks, how much they asked, what the route needs; then in, with a line for the audit.

At home there is no gate: `current` is None and every route is open. The gate stands before the router, so that nothing
of a refused request is read, and what no line of the policy covers is refused.
"""

from urllib.parse import urlsplit

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access import allowance, credentials
from app.access.allowance import Allowance, Left
from app.access.policy import Need, needed
from app.access.routes import Routes
from app.settings import Settings
from app.web import csrf, errors, templating
from app.web.addresses import address
from app.web.errors import Problem
from app.web.principal import IN_SCOPE, Principal, speaking
from inference.errors import GemlensError

log = structlog.get_logger("gemlens.audit")

BAD_KEY = (
    "This key is not known here, or no longer good. Make a new one on your account page, or ask who runs this server."
)
UNDECLARED = "Nobody has said who may use this address on a shared server, so nobody may."
NOT_YOURS = {
    "compute": "Your key may not ask the model: it lacks the scope compute.",
    "write": "Your key may not change anything: it lacks the scope write.",
    "read": "Your key may not read: it has no scope.",
    "admin": "Only administrators of this server may do this.",
    "person": "This is done in a browser, signed in, and not with a key.",
}
SIGN_IN = {
    "read": "This server shows nothing to visitors who did not sign in.",
    "compute": "Asking the model needs a sign-in on this server.",
    "write": "Keeping something needs a sign-in on this server.",
    "admin": "Only administrators of this server may do this. Sign in as one.",
    "person": "Sign in first.",
    "known": "This needs a sign-in on this server.",
}
PROGRAMS = "Programs send a key as X-API-Key or Authorization: Bearer."


class Gate:
    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.shared = settings.shared
        self._allowance = Allowance(requests=settings.requests_per_minute, compute=settings.compute_per_minute)
        self._routes: Routes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.shared or scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._request(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if self._routes is None or self._routes.count != len(scope["app"].routes):
            self._routes = Routes(scope["app"])
        template = self._routes.template(scope)
        fragment = templating.is_fragment(request)
        need = None if template is None else needed(scope["method"], template, fragment=fragment)
        if need == "open":
            # Their pages still show who is signed in, if that can be known.
            scope[IN_SCOPE] = await self._whoever(request)
            await self._pass(scope, receive, send, template=template, need=need, left=[])
            return
        try:
            scope[IN_SCOPE] = principal = await self._identify(request)
        except credentials.Refused:
            left, refused = self._charge(request, None, need=None)
            problem = refused or Problem(401, "unknown_key", BAD_KEY, headers={"WWW-Authenticate": "Bearer"})
            await self._refuse(request, send, problem, left=left)
            return
        except GemlensError as error:
            await self._refuse(request, send, errors.problem_of(error), left=[])
            return
        allowed = need is not None and may(principal, need)
        left, refused = self._charge(request, principal, need=need if allowed else None)
        if refused is not None:
            await self._refuse(request, send, refused, left=left)
        elif allowed or template is None:
            await self._pass(scope, receive, send, template=template, need=need, left=left)
        elif need is None:
            log.error("undeclared", method=scope["method"], route=template)
            await self._refuse(request, send, Problem(403, "forbidden", UNDECLARED), left=left)
        elif principal.id is not None:
            await self._refuse(request, send, Problem(403, "forbidden", NOT_YOURS[need]), left=left)
        elif scope["method"] == "GET" and not fragment and _is_page(request):
            await RedirectResponse(self._sign_in(request), status_code=303)(scope, receive, send)
        else:
            sentence = f"{SIGN_IN[need]} {PROGRAMS}" if errors.wants_json(scope) else SIGN_IN[need]
            problem = Problem(401, "sign_in", sentence, headers={"WWW-Authenticate": "Bearer"})
            await self._refuse(request, send, problem, left=left)

    async def _identify(self, request: HTTPConnection) -> Principal:
        house = request.app.state.house
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        return await credentials.identify(request, path, database=house.data, anonymous=self.settings.anonymous)

    async def _whoever(self, request: HTTPConnection) -> Principal:
        """For routes that are open to all: a bad key or a database that is away is no reason to refuse."""
        nobody = Principal(None, "anonymous", frozenset())
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        if path.startswith("/static/") or path in ("/healthz", "/readyz", "/favicon.ico"):
            return nobody
        try:
            return await self._identify(request)
        except (credentials.Refused, GemlensError):
            return nobody

    def _charge(
        self, request: HTTPConnection, principal: Principal | None, *, need: Need | None
    ) -> tuple[list[Left], Problem | None]:
        """Counts the request, and says what is left, or that it was one too many."""
        who = who_pays(request, principal)
        names = ("requests", "compute") if need == "compute" else ("requests",)
        left: list[Left] = []
        for name in names:
            one = self._allowance.take(name, who)
            if one is None:
                continue
            left.append(one)
            if one.spent:
                return left, Problem(429, "too_many_requests", _too_many(one), retry_after=one.seconds)
        return left, None

    async def _refuse(self, request: Request, send: Send, problem: Problem, *, left: list[Left]) -> None:
        problem = Problem(
            problem.status,
            problem.code,
            problem.message,
            problem.retry_after,
            problem.log_id,
            {**(problem.headers or {}), **allowance.headers(left)},
        )
        await errors.respond(request.scope, request.receive, send, problem)

    def _sign_in(self, request: Request) -> str:
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return address(request.scope, "sign-in", next=here)

    async def _pass(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        template: str | None,
        need: Need | None,
        left: list[Left],
    ) -> None:
        principal: Principal = scope[IN_SCOPE]
        status = 500

        def charge() -> str:
            one = self._allowance.take("compute", who_pays(Request(scope), principal))
            if one is None:
                return ""
            left.append(one)
            return _too_many(one) if one.spent else ""

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in allowance.headers(left).items():
                    headers.setdefault(name, value)
                if need != "open":
                    _keep_private(headers, principal)
            await send(message)

        try:
            with speaking(principal, charge=charge):
                await self.app(scope, receive, send_with_headers)
        finally:
            if scope["method"] not in csrf.SAFE_METHODS and need in ("write", "admin", "person"):
                audit(scope, principal, template=template, status=status)


def _too_many(one: Left) -> str:
    what = "requests" if one.name == "requests" else "requests that ask the model"
    return f"That was more than {one.quota} {what} in a minute. Go on in {one.seconds} seconds."


def _is_page(request: Request) -> bool:
    """Whether a person waits for it, who can be shown where to sign in."""
    return "text/html" in request.headers.get("accept", "") and not errors.wants_json(request.scope)


def may(principal: Principal, need: Need) -> bool:
    match need:
        case "open":
            return True
        case "known":
            return principal.id is not None
        case "person":
            return principal.session is not None
        case _:
            return need in principal.scopes


def who_pays(request: HTTPConnection, principal: Principal | None) -> str:
    """Keys pay apart from the person who made them; visitors by address."""
    if principal is None or principal.id is None:
        return allowance.of_address(request.client.host if request.client else None)
    return f"key {principal.id} {principal.key}" if principal.key else f"person {principal.id}"


def audit(scope: Scope, principal: Principal, *, template: str | None, status: int) -> None:
    """One line: who did what where, and how it ended. Never what was written, nor the address's query."""
    path = urlsplit(scope["path"]).path.removeprefix(scope.get("root_path", ""))
    log.info(
        "audit",
        who=principal.name,
        key=principal.key,
        method=scope["method"],
        route=template,
        path=path,
        status=status,
    )


def _keep_private(headers: MutableHeaders, principal: Principal) -> None:
    """What somebody may see is not kept for somebody else by a cache between."""
    headers.add_vary_header("Authorization, X-API-Key, Cookie")
    if principal.id is None:
        return
    kept = headers.get("cache-control")
    if kept is None:
        headers["Cache-Control"] = "private, no-cache"
    elif "public" in kept:
        headers["Cache-Control"] = kept.replace("public", "private")
