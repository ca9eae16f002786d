"""Let root act as the owner of a folder that another user can change.

The folder of bundles belongs to the station's user. Whatever link that user puts there, root's
`model install` must do nothing through it that this user could not do himself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def find_owner(path: Path) -> tuple[int, int]:
    """Return user and group who control a path: those of its first part that is not root's.

    Links are not followed, and missing parts are those of their folder.
    """
    path = path.absolute()
    for part in (*reversed(path.parents), path):
        try:
            found = part.lstat()
        except FileNotFoundError:
            break
        if found.st_uid != 0:
            return found.st_uid, found.st_gid
    return 0, 0


@contextmanager
def act_as_owner(folder: Path) -> Iterator[None]:
    """Run a block as the owner of a folder; no change for users other than root, or root's folder.

    The effective user is one for all threads: use it in a process of one thread.
    """
    user, group = find_owner(folder) if os.geteuid() == 0 else (0, 0)
    if user == 0:
        yield
        return
    groups, before = os.getgroups(), os.getegid()
    os.setgroups([group])
    os.setegid(group)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(before)
        os.setgroups(groups)
