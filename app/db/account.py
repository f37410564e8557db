"""Which account Postgres runs under: it refuses to run as root, and Gemlens may well be root in a container.

As anyone else it is simply the same account. As root it is the owner of existing data, else the account `postgres`,
else `nobody`; and that account is let through to the data and to the programs by adding the right to pass (never to
list or read) on folders above them that are closed to others.
"""

import os
import pwd
import stat
from pathlib import Path
from typing import NamedTuple

from inference.errors import Unavailable


class Account(NamedTuple):
    uid: int
    gid: int


def account_for(folder: Path) -> Account:
    """The account that is to own and run what lies in `folder`, which exists."""
    owner = folder.stat()
    me = os.geteuid()
    if me != 0:
        if owner.st_uid != me:
            raise Unavailable(
                f"{folder} belongs to another account ({_name(owner.st_uid)}), as it does when Gemlens was first "
                "started as root. Start it as root again, give the folder to this account with chown -R, or choose "
                "another home."
            )
        return Account(me, os.getegid())
    if owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise Unavailable(
        "Gemlens runs as root, Postgres will not, and there is no account 'postgres' or 'nobody' to run it as. "
        "Start Gemlens as another user, or give it a database with GEMLENS_DATABASE_URL."
    )


def hand_over(folder: Path, account: Account) -> None:
    """Makes `folder` the account's own and closes it to others; root passes anyway."""
    if folder.stat().st_uid != account.uid:
        try:
            os.chown(folder, account.uid, account.gid)
        except OSError as error:
            raise Unavailable(
                f"Gemlens runs as root, Postgres will not, and {folder} cannot be given to another account "
                f"({error.strerror}). Start Gemlens as another user, or give it a database with GEMLENS_DATABASE_URL."
            ) from error
    folder.chmod(0o700)


def let_through(path: Path, account: Account) -> None:
    """Lets `account` reach `path` through the folders above it, when it is not the account that runs this."""
    if account.uid == os.geteuid():
        return
    for above in path.resolve().parents:
        found = above.stat()
        if found.st_uid != account.uid and not found.st_mode & stat.S_IXOTH:
            above.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
