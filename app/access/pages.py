"""Signing in and out, one's own keys, and, for administrators, the people of a shared server.

At home none of these pages exist. All of them work without JavaScript. What is secret is shown once, by the answer to
the form that made it, which no cache and no history keeps.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.access import allowance, cookie, people, queries, secrets
from app.access.allowance import Allowance, Left
from app.access.view import KeyRow, MadeKey, MadePassword, PersonRow
from app.store.at_hand import database_of
from app.web import errors, templating
from app.web.addresses import address
from app.web.errors import Problem
from app.web.forms import text_fields
from app.web.house import house_of
from app.web.principal import SCOPES, Principal, current
from inference.errors import BadInput, GemlensError, NotFound

log = structlog.get_logger("gemlens.audit")

NAMES = 5
"""So many times what one address may try may be tried on one name."""
ONCE = {"Cache-Control": "no-store"}
WRONG = (
    "That name and password do not belong together. Names are written in small letters; ask an administrator of "
    "this server for a new password if yours is lost."
)
SCOPE_SENTENCES = {
    "read": "read pages and data",
    "compute": "ask the model; reading is included",
    "write": "make and change lists, notes, vectors and views in your name; reading is included",
    "admin": "everything, also jobs and people",
}
DAYS = (("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "until revoked"))

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Account:
    name: str
    title: str
    administrator: bool
    keys: list[KeyRow]


@router.get("/sign-in")
async def sign_in_page(request: Request) -> Response:
    after = request.query_params.get("next") or _came_from(request)
    if _visitor(request).id is not None:
        return RedirectResponse(_local(request, after), status_code=303)
    return _sign_in(request, after=after)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    _visitor(request)
    form = await text_fields(request)
    name, password, after = form.get("name", ""), form.get("password", ""), form.get("next", "")
    if (spent := _one_too_many(request, name)) is not None:
        log.info("sign_in_throttled", by=spent.name)
        sentence = f"Too many tries to sign in. Try again in {spent.seconds} seconds."
        problem = Problem(429, "too_many_requests", sentence, retry_after=spent.seconds)
        return _sign_in(request, after=after, name=name, problem=problem)
    found = await _kept(request, name)
    right = await secrets.matches(password, None if found is None else found.password_hash)
    if found is None or not right or not found.enabled:
        log.info("sign_in_refused")
        return _sign_in(request, after=after, name=name, problem=Problem(401, "sign_in", WRONG))
    hours = house_of(request).settings.session_hours
    secret = secrets.new_session()
    async with database_of(request).session() as session:
        if old := cookie.read(request):
            await queries.end_sign_in(session, secrets.sha256(old))
        await queries.put_sign_in(session, principal_id=found.id, sha256=secrets.sha256(secret), hours=hours)
    log.info("signed_in", who=name.strip().lower())
    answer = RedirectResponse(_local(request, after), status_code=303, headers=ONCE)
    cookie.put(answer, request, secret, hours=hours)
    return answer


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    principal = _visitor(request)
    if secret := cookie.read(request):
        async with database_of(request).session() as session:
            await queries.end_sign_in(session, secrets.sha256(secret))
        log.info("signed_out", who=principal.name)
    answer = RedirectResponse(address(request.scope, "sign-in"), status_code=303)
    cookie.remove(answer, request)
    return answer


@router.get("/account")
async def account(request: Request) -> Response:
    return await _account(request)


@router.get("/account.json")
async def account_json(request: Request) -> Response:
    return _json(await _account_view(request))


@router.post("/account/keys")
async def make_key(request: Request) -> Response:
    principal = _visitor(request)
    form = await request.form()
    try:
        days = str(form.get("days", "90"))
        if days and not days.isdecimal():
            raise BadInput("A key lasts a number of days, or until it is revoked.")
        async with database_of(request).session() as session:
            made = await people.make_key(
                session,
                principal_id=_own_id(principal),
                title=str(form.get("title", "")),
                scopes=[str(scope) for scope in form.getlist("scope")],
                days=int(days[:6]) if days else None,
                allowed=principal.scopes,
            )
    except GemlensError as error:
        return await _account(request, problem=errors.problem_of(error))
    return await _account(request, made=made)


@router.post("/account/keys/{key_id}/revoke")
async def revoke_key(request: Request, key_id: int) -> Response:
    async with database_of(request).session() as session:
        if not await queries.remove_key(session, _storable(key_id), principal_id=_own_id(_visitor(request))):
            raise NotFound("You have no such key; it may have been revoked already.")
    return RedirectResponse(address(request.scope, "account"), status_code=303)


@router.post("/account/password")
async def change_password(request: Request) -> Response:
    principal = _visitor(request)
    form = await text_fields(request)
    tries = _tries(request).take("tries", f"person {principal.id}")
    try:
        if tries is not None and tries.spent:
            sentence = f"Too many tries. Try again in {tries.seconds} seconds."
            return await _account(request, problem=Problem(429, "too_many_requests", sentence, tries.seconds))
        wanted = secrets.checked_password(form.get("new", ""))
        found = await _kept(request, principal.name)
        if not await secrets.matches(form.get("password", ""), None if found is None else found.password_hash):
            raise BadInput("The password that you have now is another one.")
        hashed = await secrets.password_hash(wanted)
        async with database_of(request).session() as session:
            await queries.set_password(session, _own_id(principal), hashed)
            await queries.end_sign_ins(session, _own_id(principal), except_for=principal.session)
    except GemlensError as error:
        return await _account(request, problem=errors.problem_of(error))
    return await _account(
        request, said="Your password is changed. Other browsers that used the old one are signed out."
    )


@router.post("/account/sign-out-everywhere")
async def sign_out_everywhere(request: Request) -> Response:
    async with database_of(request).session() as session:
        await queries.end_sign_ins(session, _own_id(_visitor(request)))
    answer = RedirectResponse(address(request.scope, "sign-in"), status_code=303)
    cookie.remove(answer, request)
    return answer


@router.get("/people")
async def people_page(request: Request) -> Response:
    return await _people(request)


@router.get("/people.json")
async def people_json(request: Request) -> Response:
    _visitor(request)
    async with database_of(request).session() as session:
        return _json(await queries.people(session))


@router.post("/people")
async def add_person(request: Request) -> Response:
    _visitor(request)
    form = await text_fields(request)
    try:
        async with database_of(request).session() as session:
            made = await people.add(
                session,
                name=form.get("name", ""),
                title=form.get("title", ""),
                administrator=form.get("administrator") == "yes",
            )
    except GemlensError as error:
        return await _people(request, problem=errors.problem_of(error))
    return await _people(request, made=made)


@router.post("/people/{person_id}/reset")
async def reset_person(request: Request, person_id: int) -> Response:
    _visitor(request)
    async with database_of(request).session() as session:
        made = await people.reset(session, await people.by_id(session, _storable(person_id)))
    return await _people(request, made=made)


@router.post("/people/{person_id}/disable")
async def disable_person(request: Request, person_id: int) -> Response:
    if person_id == _visitor(request).id:
        raise BadInput("You cannot disable yourself. Ask another administrator to.")
    async with database_of(request).session() as session:
        await people.set_enabled(session, await people.by_id(session, _storable(person_id)), False)
    return RedirectResponse(address(request.scope, "people"), status_code=303)


@router.post("/people/{person_id}/enable")
async def enable_person(request: Request, person_id: int) -> Response:
    _visitor(request)
    async with database_of(request).session() as session:
        await people.set_enabled(session, await people.by_id(session, _storable(person_id)), True)
    return RedirectResponse(address(request.scope, "people"), status_code=303)


def _visitor(request: Request) -> Principal:
    principal = current(request)
    if principal is None:
        raise NotFound("Nobody needs to sign in here: this server is only reached from the machine that it runs on.")
    return principal


def _own_id(principal: Principal) -> int:
    assert principal.id is not None, "the policy lets only people in"
    return principal.id


async def _kept(request: Request, name: str) -> queries.Kept | None:
    name = name.strip().lower()
    if not secrets.NAME.fullmatch(name):
        return None
    async with database_of(request).session() as session:
        return await queries.kept(session, name)


def _storable(number: int) -> int:
    """Numbers that no row can have are those of no row."""
    return number if 0 < number < 2**31 else 0


def _one_too_many(request: Request, name: str) -> Left | None:
    """By address, and by name from wherever: many addresses together shall not try many passwords on one person."""
    address_of = allowance.of_address(request.client.host if request.client else None)
    for quota, who in (("tries", address_of), ("names", f"name {name.strip().lower()[:64]}")):
        left = _tries(request).take(quota, who)
        if left is not None and left.spent:
            return left
    return None


def _tries(request: Request) -> Allowance:
    """How often somebody may try a password; made with the application's first try."""
    state = request.app.state
    if not hasattr(state, "password_tries"):
        quota = house_of(request).settings.sign_ins_per_minute
        state.password_tries = Allowance(tries=quota, names=NAMES * quota)
    tries = state.password_tries
    assert isinstance(tries, Allowance)
    return tries


def _came_from(request: Request) -> str:
    """The page of ours on which somebody followed a link to here."""
    parts = urlsplit(request.headers.get("referer", ""))
    if parts.netloc != request.headers.get("host"):
        return ""
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _local(request: Request, wanted: str) -> str:
    """An address of this site, whatever was asked for: `next` may have been written by anybody."""
    front = address(request.scope)
    try:
        parts = urlsplit(wanted if wanted.isprintable() and "\\" not in wanted else "")
    except ValueError:
        return front
    if parts.scheme or parts.netloc or not parts.path.startswith(front) or parts.path.startswith("//"):
        return front
    if parts.path.startswith(address(request.scope, "sign-in")):
        return front
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers=ONCE)


def _sign_in(request: Request, *, after: str, name: str = "", problem: Problem | None = None) -> Response:
    if problem is not None and errors.wants_json(request.scope):
        return errors.response(request, problem)
    headers = dict(ONCE)
    if problem is not None and problem.retry_after is not None:
        headers["Retry-After"] = str(round(problem.retry_after))
    context = {"after": after, "name": name, "problem": problem}
    status = 200 if problem is None else problem.status
    return templating.page(request, "access/sign-in.html", context, status=status, headers=headers)


async def _account_view(request: Request) -> Account:
    principal = _visitor(request)
    async with database_of(request).session() as session:
        keys = await queries.keys(session, _own_id(principal))
    return Account(principal.name, principal.title, principal.administrator, keys)


async def _account(
    request: Request, *, made: MadeKey | None = None, said: str | None = None, problem: Problem | None = None
) -> Response:
    view = await _account_view(request)
    scopes = [(scope, SCOPE_SENTENCES[scope]) for scope in SCOPES if scope in _visitor(request).scopes]
    context = {"account": view, "made": made, "said": said, "problem": problem, "scopes": scopes, "days": DAYS}
    status = 200 if problem is None else problem.status
    return templating.page(request, "access/account.html", context, status=status, headers=ONCE)


async def _people(request: Request, *, made: MadePassword | None = None, problem: Problem | None = None) -> Response:
    principal = _visitor(request)
    async with database_of(request).session() as session:
        known: list[PersonRow] = await queries.people(session)
    context = {"people": known, "made": made, "problem": problem, "own_id": principal.id}
    status = 200 if problem is None else problem.status
    return templating.page(request, "access/people.html", context, status=status, headers=ONCE)
