"""Files in a bucket, by obstore: S3 and what speaks its language, Google Cloud Storage, Azure.

Where the bucket is and who asks, obstore takes from the environment: `AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`; `GOOGLE_APPLICATION_CREDENTIALS`;
`AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`; or the machine's own role.
"""

import importlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from datetime import timedelta
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from partdistillation.errors import InputError, StoreError, to_install

T = TypeVar("T")

_PATIENT = {"max_retries": 10, "retry_timeout": timedelta(minutes=3)}
"""A store that fails for longer ends the command; what is done is kept."""
_BRIEF = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
"""To find out whether a store answers at all."""
_ATTEMPTS = 3
"""Of what obstore itself doesn't ask again, such as a write whose answer was lost."""
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_OF_A_MACHINE = ("169.254.169.254", "/latest/api/token", "computeMetadata", "/metadata/identity")
"""Where obstore looks last for credentials: the addresses at which a cloud's own machines are told theirs."""


class StoredFile(NamedTuple):
    """A file in a bucket."""

    key: str
    size: int
    """In bytes."""
    modified: int
    """When it was written, in nanoseconds since 1970."""
    etag: str
    """What tells states of it apart."""


def open_bucket(url: str) -> "ObjectStorage":
    """The storage at a URL, which is asked once whether it answers.

    Raises:
        InputError: it doesn't: no such bucket, no credentials, no server; or obstore isn't installed.
    """
    storage = ObjectStorage(url)
    storage.check()
    return storage


@lru_cache(maxsize=16)
def known_bucket(url: str) -> "ObjectStorage":
    """The storage at a URL, connected to once a process; not asked whether it answers.

    Raises:
        InputError: obstore isn't installed, or it can make nothing of the URL.
    """
    return ObjectStorage(url)


class ObjectStorage:
    """What lies under a URL such as `s3://bucket/folder`.

    Raises:
        InputError: obstore isn't installed, or it can make nothing of the URL.
        StoreError: in every method, where the store still fails after being asked again for minutes.
    """

    def __init__(self, url: str) -> None:
        self._url, self._folder = url, ""
        self._store = _open(url, _PATIENT)

    def check(self) -> None:
        """Make sure that the store answers and the bucket is there.

        Raises:
            InputError: it doesn't, or isn't, or not to these credentials.
        """
        brief = _open(self._url, _BRIEF)
        try:
            next(iter(brief.list(chunk_size=1)), None)
        except Exception as error:  # obstore's have no common class but this
            raise InputError(_cause(self._url, error)) from error

    def read(self, key: str) -> bytes | None:
        """A file's content; None where there is none."""
        try:
            return self._asked(lambda path: bytes(self._store.get(path).bytes()), key)
        except FileNotFoundError:
            return None

    def read_range(self, key: str, start: int, size: int) -> bytes:
        """A piece of a file that is there: `size` bytes from `start`, fewer where it ends before."""
        try:
            return self._asked(lambda path: bytes(self._store.get_range(path, start=start, length=size)), key)
        except FileNotFoundError as error:
            raise StoreError(f"expected a file at {self._place(key)}, found none") from error

    def write(self, key: str, data: bytes) -> None:
        """Put a file there, whole, over what was there."""
        self._asked(lambda path: self._store.put(path, data), key)

    def create(self, key: str, data: bytes) -> bool:
        """Put a file there, whole, if there is none; whether it is this one. Of many at once one succeeds.

        If its answer was lost, the file that is there is this one: told by its content.
        """
        exists_already = importlib.import_module("obstore.exceptions").AlreadyExistsError
        try:
            self._asked(lambda path: self._store.put(path, data, mode="create"), key, but=exists_already)
        except exists_already:
            return self.read(key) == data
        return True

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        try:
            self._asked(self._store.head, key)
        except FileNotFoundError:
            return False
        return True

    def names(self, folder: str) -> list[str]:
        """Names of a folder's files and folders, in order, without hidden ones; none where it isn't there."""
        files, folders = self.entries(folder)
        return sorted(name for name in {*files, *folders} if not name.startswith("."))

    def delete(self, key: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            self._asked(self._store.delete, key)

    def at(self, folder: str) -> "ObjectStorage":
        """What lies in a folder, which needn't be there."""
        inside = copy(self)
        inside._folder = _joined(self._folder, folder)
        return inside

    def entries(self, folder: str) -> tuple[dict[str, str], list[str]]:
        """Of one level: files, each with its mark (ETag, another for another content), and folders' names."""
        listed = self._asked(lambda path: self._store.list_with_delimiter(path or None), folder)
        files = {_last(entry["path"]): entry["e_tag"] or "" for entry in listed["objects"]}
        return files, [_last(path) for path in listed["common_prefixes"]]

    def upload(self, key: str, file: Path) -> str:
        """Put a file of this disk there, whole; its mark."""
        return self._asked(lambda path: self._store.put(path, file), key)["e_tag"] or ""

    def download(self, key: str, file: Path, unless: str = "") -> str | None:
        """Write a file to this disk, unless it has that mark still; its mark, None where nothing was written.

        Raises:
            FileNotFoundError: there is no such file.
        """
        unchanged = importlib.import_module("obstore.exceptions").NotModifiedError
        options = {"if_none_match": unless} if unless else {}

        def get(path: str) -> str:
            answer = self._store.get(path, options=options)
            with file.open("wb") as writing:
                writing.writelines(answer.stream())
            return answer.meta["e_tag"] or ""

        try:
            return self._asked(get, key, but=unchanged)
        except unchanged:
            return None

    def files(self) -> list[StoredFile]:
        """All files, at any depth; without the empty ones that stand for folders."""

        def listed(folder: str) -> list[StoredFile]:
            prefix = f"{folder}/" if folder else ""
            entries = chain.from_iterable(self._store.list(folder or None))
            return [_file(entry, prefix) for entry in entries if not entry["path"].endswith("/")]

        return self._asked(listed, "")

    def read_unchanged(self, key: str, etag: str, start: int, size: int) -> bytes:
        """A piece of a file as it was when it was listed: `size` bytes from `start`.

        Raises:
            StoreError: it has changed, or is gone.
        """
        if not size:
            return b""
        options = {"range": (start, start + size), **({"if_match": etag} if etag else {})}
        changed = importlib.import_module("obstore.exceptions").PreconditionError
        try:
            return self._asked(
                lambda path: bytes(self._store.get(path, options=options).bytes()), key, but=changed
            )
        except (FileNotFoundError, changed) as error:
            what = "none" if isinstance(error, FileNotFoundError) else "another one"
            raise StoreError(
                f"{self._place(key)}: expected the file as it was when it was listed, found {what}: put the "
                "old one back; or choose another --out, to begin again with what is there now"
            ) from error

    def _place(self, key: str) -> str:
        return _joined(self._url, _joined(self._folder, key))

    def _asked(self, request: Callable[[str], T], key: str, *, but: type[Exception] = FileNotFoundError) -> T:
        """The answer to a request about a file, one that does the same when it is made twice.

        Raises:
            FileNotFoundError: there is no such file.
            StoreError: the store fails again and again.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return request(_joined(self._folder, key))
            except (FileNotFoundError, but):
                raise
            except Exception as error:  # obstore's have no common class but this
                if attempt == _ATTEMPTS or _is_refusal(error) or isinstance(error, ValueError):
                    raise StoreError(
                        f"{self._place(key)}: {_first_line(error)}. What is done so far is kept: "
                        f"{_remedy(error)}, run the same command again"
                    ) from error
        raise AssertionError  # the loop returns or raises


def _file(entry: Mapping[str, Any], prefix: str) -> StoredFile:
    modified = round(entry["last_modified"].timestamp() * 1_000_000) * 1000
    return StoredFile(entry["path"].removeprefix(prefix), entry["size"], modified, entry["e_tag"] or "")


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _open(url: str, retries: dict[str, Any]) -> Any:
    try:
        store = importlib.import_module("obstore.store")
    except ImportError as error:
        raise InputError(f"{url}: needs obstore: {to_install('cloud')}") from error
    try:
        return store.from_url(url, retry_config=retries)
    except Exception as error:
        raise InputError(
            f"{url} can't be opened: {_first_line(error)}: check the URL, and the credentials in the "
            "environment"
        ) from error


def _is_refusal(error: Exception) -> bool:
    return re.search(r"status code: 40[13]\b", str(error)) is not None


def _remedy(error: Exception) -> str:
    if isinstance(error, ValueError):
        return "give it a name that a store can have"
    return "set the permissions" if _is_refusal(error) else "when the store answers again"


def _cause(url: str, error: Exception) -> str:
    """Why a store doesn't answer, and what to do, as one line."""
    text = str(error)
    bucket = url.partition("://")[2].partition("/")[0]
    if "NoSuchBucket" in text or " 404 " in text:
        return f"{url}: expected a bucket named {bucket}, found none: create it, or correct the URL"
    if any(place in text for place in _OF_A_MACHINE):
        return (
            f"{url}: found no credentials: set those of your store in the environment "
            f"({_CREDENTIALS.get(url.partition('://')[0], _CREDENTIALS['s3'])}), or give this machine a role"
        )
    if _is_refusal(error):
        return f"{url}: the store refuses these credentials: {_first_line(error)}"
    return f"{url}: the store doesn't answer: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
