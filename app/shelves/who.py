"""Who may make something here."""

from starlette.requests import Request

from app.web import principal


def may_make(request: Request) -> bool:
    """At home everybody; on a shared server whoever signed in and may write."""
    who = principal.current(request)
    return who is None or (who.id is not None and "write" in who.scopes)
