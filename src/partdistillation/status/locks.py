"""Who holds a lock on this machine, without asking for it."""

import re
from pathlib import Path

_LOCKS = Path("/proc/locks")


def is_held(path: Path) -> bool:
    """Whether a process holds a lock file (`runs.atomic.locked`), without asking for it: that would hold it.

    Where the system has no list of locks it isn't known, and False.
    """
    try:
        inode, locks = path.stat().st_ino, _LOCKS.read_text()
    except OSError:
        return False
    return re.search(rf"FLOCK +ADVISORY +WRITE +-?\d+ +[0-9a-f]+:[0-9a-f]+:{inode} ", locks) is not None
