"""A folder that processes of one machine hold in common, so that none of them, nor any other, has it alone.

Not every system has locks that several may hold: each process holds a file of its own, in a folder beside.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from partdistillation.errors import StoreError
from partdistillation.runs.atomic import locked, make_folder

_SHARERS = ".sharers"
_JOINING = ".lock"


@contextmanager
def sharing(folder: Path) -> Iterator[None]:
    """Hold a folder together with others; the system lets go of it when the process ends, however it ends.

    Raises:
        StoreError: a process holds it alone (`runs.atomic.locked`), or it can't be written.
    """
    sharers, own = make_folder(folder / _SHARERS), uuid4().hex
    with ExitStack() as held:
        with locked(sharers, name=_JOINING, wait=True), locked(folder):
            held.callback(_forget, sharers / own)
            held.enter_context(locked(sharers, name=own))
        yield


def require_unshared(folder: Path) -> None:
    """Forget who shared the folder and has ended. Only for who holds it alone.

    Raises:
        StoreError: somebody shares it still.
    """
    for path in (folder / _SHARERS).glob("[!.]*"):
        try:
            with locked(path.parent, name=path.name):
                pass
        except StoreError as error:
            if error.__cause__ is not None:  # not held, but out of reach
                raise
            raise StoreError(
                f"{folder} is in use by a command with --engine shared: expected to be the only one that "
                "writes to it. Join in with --engine shared, wait for its end, or choose another --out."
            ) from None
        _forget(path)


def _forget(path: Path) -> None:
    with suppress(OSError):  # another was quicker; or, on Windows, looks at it
        os.unlink(path)  # noqa: PTH108
