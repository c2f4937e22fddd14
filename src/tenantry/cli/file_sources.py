"""Where `tenantry ingest` finds files: a folder of this machine, or a bucket that speaks S3."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import click

_IGNORED = frozenset({".DS_Store", "Thumbs.db"})
_SCHEME = "s3://"
_PATIENCE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was when it was listed.

    Attributes:
        source: its name among the tenant's documents, such as `handbook/fees/bags.md`.
        version: changes when the file does.
        read: gives its bytes; raises FileNotFoundError when it is gone, ClickException when it
            cannot be read.
    """

    source: str
    version: tuple[object, ...]
    read: Callable[[], bytes]

    @property
    def name(self) -> str:
        """Without its folders."""
        return self.source.rpartition("/")[2]


class FileSource(Protocol):
    """Files that can be listed again and again.

    Attributes:
        name: what all their sources begin with, before a slash.
        is_whole: it can gain and lose files.
        every_s: how often it may be listed to see what changed.
    """

    name: str
    is_whole: bool
    every_s: float

    def files(self) -> Iterator[SourceFile]:
        """What is there now.

        Raises:
            click.ClickException: it cannot be listed.
        """
        ...


class Folder:
    """A folder of this machine, but for what file managers leave in it; or a single file."""

    every_s = 2.0

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self.name = self._path.name
        self.is_whole = self._path.is_dir()

    def files(self) -> Iterator[SourceFile]:
        """Every file below the folder."""
        for path in [self._path] if self._path.is_file() else self._path.rglob("*"):
            if path.name in _IGNORED:
                continue
            try:
                stat, is_file = path.stat(), path.is_file()
            except FileNotFoundError:
                continue  # gone since it was listed
            if is_file:
                inside = path.relative_to(self._path).as_posix()
                source = self.name if path == self._path else f"{self.name}/{inside}"
                yield SourceFile(source, (stat.st_mtime_ns, stat.st_size), path.read_bytes)


class Bucket:
    """The objects of a bucket whose keys begin with a prefix.

    Credentials, region and endpoint come from the environment, by the names that AWS gave them:
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL_S3.
    They stay on this machine.
    """

    is_whole = True
    every_s = 60.0  # listing is paid for

    def __init__(self, url: str) -> None:
        """`url` as in s3://bucket/prefix.

        Raises:
            click.UsageError: it names no bucket, or obstore is not installed.
        """
        parts = urlsplit(url)
        if not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
            raise click.UsageError(f"{url} is no bucket; write s3://bucket/prefix.")
        try:
            from obstore.store import S3Store
        except ModuleNotFoundError as error:
            raise click.UsageError("Buckets need: pip install 'tenantry[buckets]'.") from error
        self._prefix = parts.path.strip("/")
        self.name = f"{_SCHEME}{parts.netloc}" + (f"/{self._prefix}" if self._prefix else "")
        self._store: S3Store = S3Store(
            parts.netloc,
            client_options={"allow_http": True, "timeout": _PATIENCE},
            retry_config={"max_retries": 3, "retry_timeout": _PATIENCE},
        )

    def files(self) -> Iterator[SourceFile]:
        """Every object but those that only stand for folders."""
        from obstore.exceptions import BaseError

        try:
            for batch in self._store.list(self._prefix or None):
                for found in batch:
                    key, size = found["path"], found["size"]
                    if size or "." in key.rpartition("/")[2]:
                        inside = key.removeprefix(self._prefix).lstrip("/")
                        version = (found["e_tag"], size, found["last_modified"])
                        yield SourceFile(f"{self.name}/{inside}", version, self._reader(key))
        except (BaseError, OSError) as error:
            raise click.ClickException(f"{self.name} cannot be listed: {_first(error)}") from error

    def _reader(self, key: str) -> Callable[[], bytes]:
        from obstore.exceptions import BaseError

        def read() -> bytes:
            try:
                return bytes(self._store.get(key).bytes())
            except FileNotFoundError:
                raise
            except (BaseError, OSError) as error:
                raise click.ClickException(f"It cannot be read: {_first(error)}") from error

        return read


def file_source(place: str) -> FileSource:
    """The folder, file or bucket that a user names.

    Raises:
        click.UsageError: there is none.
    """
    if place.startswith(_SCHEME):
        return Bucket(place)
    path = Path(place)
    if not path.exists():
        raise click.UsageError(f"There is no file or folder {place}.")
    return Folder(path)


def _first(error: BaseException) -> str:
    """An error's first line; what follows are the library's inner states."""
    return (str(error).splitlines() or ["no reason given"])[0]
