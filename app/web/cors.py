"""Which pages of other origins may call the API from a browser: none, unless the settings name some.

Such pages send a key. Cookies are never let through: a visitor's sign-in is for our own pages alone.
"""

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

HEADERS = ("Accept", "Authorization", "Content-Type", "X-API-Key", "X-Request-ID", "X-Secret-Key")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
EXPOSED = ("RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID", "Link")


def parse_origins(text: str) -> frozenset[str]:
    """The setting, `https://a.example, https://b.example:8443`, as a set."""
    return frozenset(part.strip().lower() for part in text.split(",") if part.strip())


def middleware(origins: frozenset[str]) -> list[Middleware]:
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=sorted(origins),
            allow_methods=METHODS,
            allow_headers=HEADERS,
            allow_credentials=False,
            expose_headers=EXPOSED,
        )
    ]
