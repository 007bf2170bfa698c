"""Decoding in a process of its own, which may die or take too long: then the image is to blame.

The process reads the file itself, and sends back what it has made of it. It may take `MEMORY` more than an
interpreter does, and a time that goes by the pixels. That is time of the processor, so that a busy machine
doesn't reject what an idle one reads; a clock stops what hangs without computing. It ends with its parent.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Num

from partdistillation.data.decoding import Wanted, decode
from partdistillation.errors import InputError, PartDistillationError, StoreError
from partdistillation.runs.archives import read_bytes

MEMORY = 1100 << 20
"""Bytes: what 64 megapixels take in the hungriest decoder, WebP's, and their file."""
_SECONDS = 5
_PIXELS_A_SECOND = 4_000_000
"""Of a slow decoder on a slow machine."""
_PATIENCE = 4
"""How much longer than it may compute the process may take by the clock."""


class _Limits(NamedTuple):
    """Of the process, beside what it takes to start."""

    seconds: int
    memory: int


def decode_apart(path: Path, wanted: Wanted, *, strict: bool, pixels: int) -> Num[np.ndarray, "..."]:
    """As `decoding.decode`, of the file at `path`.

    Args:
        path: the file.
        wanted: as there.
        strict: as there.
        pixels: how many it has, as it says; they decide the time.

    Raises:
        InputError: as there; and it takes more time or memory, or crashes the decoder.
        StoreError: it is in a bucket that can't be reached.
        PartDistillationError: no process can be started.
    """
    seconds = _SECONDS + pixels // _PIXELS_A_SECOND
    late = threading.Event()
    with _started([str(path), wanted, str(int(strict)), str(seconds), str(MEMORY)]) as process:
        clock = threading.Timer(_PATIENCE * seconds, _stop, (process, late))
        clock.start()
        try:
            decoded = _received(process.stdout)
        finally:
            clock.cancel()
    if isinstance(decoded, str):
        raise InputError(decoded)
    if decoded is None:
        raise _ended(path, process.returncode, seconds, late=late.is_set())
    return decoded


def _stop(process: "subprocess.Popen[bytes]", late: threading.Event) -> None:
    late.set()
    process.kill()


@contextmanager
def _started(arguments: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        # Every thread takes address space, which is what can be limited.
        "OPENBLAS_NUM_THREADS": "1",
    }
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is the parent's: it must not look as if the image had crashed it
        )
    except OSError as error:
        raise PartDistillationError(
            f"expected to start a process that decodes an image, found: {error.strerror}; free memory, "
            "or end other processes"
        ) from error
    with process:
        try:
            yield process
        finally:
            process.kill()


def _received(pipe: IO[bytes] | None) -> Num[np.ndarray, "..."] | str | None:
    """An array, why there is none, or nothing where the process ended before it had sent all of either."""
    assert pipe is not None
    try:
        head = json.loads(pipe.readline())
    except ValueError:
        return None
    if "unreached" in head:
        raise StoreError(head["unreached"])
    if "error" in head:
        return str(head["error"])
    array: np.ndarray = np.empty(head["shape"], head["dtype"])
    with memoryview(array.data).cast("B") as unfilled:
        filled = 0
        while filled < array.nbytes:
            count = pipe.readinto(unfilled[filled:])  # type: ignore[attr-defined]
            if not count:
                return None
            filled += count
    return array


def _ended(path: Path, code: int, seconds: int, *, late: bool) -> PartDistillationError:
    """Why the process sent nothing; what others did to it isn't the image's fault."""
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    if name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP") and not late:
        return PartDistillationError(
            f"{path}: the process that decodes it was stopped ({name}); SIGKILL is mostly the system running "
            "out of memory: free some, and run the same command again"
        )
    slow = late or name == "SIGXCPU"
    reason = f"takes more than {seconds} seconds" if slow else f"crashed ({name})"
    return InputError(
        f"{path}: expected an image that can be decoded, found one whose decoder {reason}; "
        "save it again in a viewer, or remove it"
    )


def _serve(path: Path, wanted: Wanted, strict: bool, limits: _Limits, pipe: IO[bytes]) -> None:
    """Decode, and send what comes of it: a line of JSON, then the array's bytes."""
    array: Any = None
    try:
        data = read_bytes(path)  # before: threads that talk to a bucket take address space
        _limit(limits)
        array = decode(data, path, wanted, strict=strict)
        head = {"shape": array.shape, "dtype": array.dtype.str}
    except MemoryError:
        most = f"{limits.memory >> 20} MB"
        reason = f"expected an image that takes at most {most} to decode, found one that takes more"
        head = {"error": f"{path}: {reason}; shrink it, or save it in another format"}
    except InputError as error:
        head = {"error": str(error)}
    except StoreError as error:
        head = {"unreached": str(error)}
    pipe.write(json.dumps(head).encode() + b"\n")
    if array is not None:
        pipe.write(memoryview(array).cast("B"))
    pipe.flush()


def _limit(limits: _Limits) -> None:
    """Where the system has such limits; elsewhere the parent's clock is what there is."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (round(time.process_time()) + limits.seconds, hard))
    with suppress(OSError, ValueError):  # there is no /proc outside Linux, where the limit isn't kept either
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + limits.memory, hard))


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing is ever sent: this returns when the parent has ended
    os._exit(1)


def main() -> None:
    """Of the process: `PATH WANTED STRICT SECONDS MEMORY`."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    path, wanted, strict, *limits = sys.argv[1:]
    with os.fdopen(os.dup(1), "wb") as pipe:
        os.dup2(2, 1)  # whatever a decoder prints
        _serve(Path(path), wanted, strict == "1", _Limits(*map(int, limits)), pipe)  # type: ignore[arg-type]
    os._exit(0)


if __name__ == "__main__":
    main()
