"""Keys, sign-ins and passwords: how they are made and what is kept of them.

Keys and sign-ins are 32 random bytes, which nobody guesses; their SHA-256 is kept, and found by index. Passwords are
chosen by people, so they are kept as argon2 and compared slowly, also where there is nobody of that name: how long an
answer takes tells nothing. Few are compared at once, since each takes 64 MiB for its moment.
"""

import asyncio
import hashlib
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from inference.errors import BadInput

KEY_MARK = "gl_"
"""Keys begin with it, so that people and scanners know one when they see it."""
SHOWN_CHARACTERS = len(KEY_MARK) + 6
MIN_PASSWORD_CHARACTERS = 12
MAX_PASSWORD_CHARACTERS = 256
AT_ONCE = 2
"""Passwords compared at a time."""
NAME = re.compile(r"[a-z0-9](?:[a-z0-9._@-]{0,62}[a-z0-9])?")

_hasher = PasswordHasher()
_few = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="passwords")


def new_key() -> str:
    return KEY_MARK + secrets.token_urlsafe(32)


def new_session() -> str:
    return secrets.token_urlsafe(32)


def new_password() -> str:
    """Four groups that can be read out and typed: 80 bits."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))


def sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def known_by(key: str) -> str:
    """The first characters of a key."""
    return key[:SHOWN_CHARACTERS]


def checked_name(text: str) -> str:
    """The name of a person or service, as it is kept."""
    name = text.strip().lower()
    if not NAME.fullmatch(name):
        raise BadInput(
            "A name is made of small letters, digits, dots, dashes, underscores and @, and has 1 to 64 of them, such "
            "as ada or ada@example.org."
        )
    return name


def checked_password(text: str) -> str:
    if not MIN_PASSWORD_CHARACTERS <= len(text) <= MAX_PASSWORD_CHARACTERS:
        raise BadInput(
            f"A password has {MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters; any will do. "
            "Several words are easy to remember."
        )
    return text


async def password_hash(password: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(_few, _hasher.hash, password)


async def matches(password: str, kept: str | None) -> bool:
    """Whether it is the password. Takes as long where there is none to compare with."""
    return await asyncio.get_running_loop().run_in_executor(_few, _compare, password[:MAX_PASSWORD_CHARACTERS], kept)


def _compare(password: str, kept: str | None) -> bool:
    nobodys = _nobodys()
    try:
        return _hasher.verify(kept or nobodys, password) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    """To compare with where nobody has that name, or no password."""
    return _hasher.hash(secrets.token_urlsafe(32))
