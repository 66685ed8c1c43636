"""What a person typed as the catalog becomes sources that can be read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin

from packshot.catalog.archives import unpacked
from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.local_files import local_sources
from packshot.catalog.source import Source
from packshot.catalog.tables.sql import SqlSource
from packshot.download import DownloadPolicy, disk_errors, download, revalidate
from packshot.errors import ArchiveError, Code, ConfigError
from packshot.inputs.address import CatalogAddress, Place, read_address
from packshot.inputs.folder import CatalogFolder, Kept
from packshot.settings import PREFIX, Settings
from packshot.storage.fetching import fetch_object

DOWNLOAD_TIMEOUT = 900.0
"""Seconds for all of a catalog; a silent server is left sooner."""
_CHUNK = 1 << 20
_PASSED_ON = {Code.DOWNLOAD_REFUSED, Code.DISK_FULL, Code.S3_DENIED, Code.S3_UNREACHABLE}
"""Their next step fits a catalog as well as a picture."""


def sources_of(catalog: str, settings: Settings) -> list[Source]:
    """The files (or the table) that ``catalog`` names, ready to be read; several for a pattern such as ``*.csv``.

    What lies elsewhere is brought to PACKSHOT_HOME/catalogs first; what has not changed since is not fetched again.
    ``-`` is refused: only a command has a standard input, and makes a file of it first, see :func:`stdin_as_file`.

    Raises:
        ConfigError: there is no such thing, it may not or cannot be fetched, or it cannot be unpacked.
    """
    address = read_address(catalog)
    most = settings.catalog_max_bytes
    if address.place is Place.FILE:
        return local_sources(address.target, most)
    if address.place is Place.STDIN:
        raise ConfigError(Code.CATALOG_INVALID, "- (standard input) is for packshot inspect, plan and run only")
    if address.place is Place.SQL:
        return [SqlSource(_database_url(settings), address.target)]
    return [unpacked(_fetched(address, settings), address.member, most)]


def stdin_as_file(catalog: str, settings: Settings, stdin: BinaryIO) -> str:
    """What a command goes on with: for ``-`` the path of a file that holds all of standard input, else ``catalog``.

    Raises:
        ConfigError: it is empty, or larger than PACKSHOT_CATALOG_MAX_BYTES; or ``catalog`` names no place that can be
            read. So what holds a password is refused before anything writes it down.
    """
    if read_address(catalog).place is not Place.STDIN:
        return catalog
    sha256, size = hashlib.sha256(), 0
    folder = CatalogFolder(settings.home)
    with _as_config_error("standard input", settings), folder.new_file() as part:
        with part.open("wb") as file:
            while block := stdin.read(_CHUNK):
                size += len(block)
                if size > settings.catalog_max_bytes:
                    raise ArchiveError(
                        Code.TOO_LARGE, f"standard input has more than {settings.catalog_max_bytes:,} bytes"
                    )
                sha256.update(block)
                file.write(block)
        if not size:
            raise bad_catalog("standard input", "is empty (0 bytes)")
        return str(folder.keep(part, sha256.hexdigest(), "stdin"))


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A catalog that was brought here from elsewhere; called as it is there."""

    path: Path
    name: str
    label: str
    stem: str
    neighbour: Callable[[str], Source] = field(repr=False, compare=False)
    """Fetches another file of the same place."""

    def open(self) -> BinaryIO:
        return self.path.open("rb")

    def beside(self, name: str) -> Source:
        return self.neighbour(name)


def _fetched(address: CatalogAddress, settings: Settings) -> RemoteFile:
    is_url = address.place is Place.URL
    folder = CatalogFolder(settings.home)
    last = folder.recall(address.target)
    path = folder.find(last) if last else None
    known = last if path else None
    with _as_config_error(address.label, settings), folder.new_file() as part:
        fetch = _from_url if is_url else _from_store
        got = fetch(address, part, known, settings)
        if got is not None:
            path = folder.keep(part, got.sha256)
            folder.remember(address.target, got)
    assert path is not None, "what has not changed is there"

    def neighbour(name: str) -> Source:
        prefix = "" if is_url else "s3://"
        place = f"{prefix}{address.target}".partition("?")[0]
        beside = urljoin(place, quote(name)) if is_url else f"{place.rpartition('/')[0]}/{name}"
        return sources_of(beside, settings)[0]

    return RemoteFile(path, address.name, address.label, address.stem, neighbour)


def _from_url(address: CatalogAddress, dest: Path, known: Kept | None, settings: Settings) -> Kept | None:
    """None: it is still what is known."""
    policy = replace(
        DownloadPolicy.from_settings(settings),
        hosts=("*",), max_bytes=settings.catalog_max_bytes, timeout=DOWNLOAD_TIMEOUT, text=True,
    )  # fmt: skip
    if known and (known.etag or known.last_modified):
        got = revalidate(address.target, dest, policy, etag=known.etag, last_modified=known.last_modified)
        if got is None:
            return None
    else:
        got = download(address.target, dest, policy)
    return Kept(got.sha256, got.etag, got.last_modified)


def _from_store(address: CatalogAddress, dest: Path, known: Kept | None, settings: Settings) -> Kept | None:
    """None: it is still what is known."""
    bucket, _, key = address.target.partition("/")
    etag = known.etag if known else ""
    got = fetch_object(settings, bucket, key, dest, max_bytes=settings.catalog_max_bytes, etag=etag)
    return None if got is None else Kept(got.sha256, got.etag, "")


def _database_url(settings: Settings) -> str:
    url = settings.catalog_database_url
    if url is None:
        raise ConfigError(
            Code.SETTINGS_INVALID,
            f"sql: needs {PREFIX}CATALOG_DATABASE_URL, and it is not set (allowed: postgresql://..., sqlite:///FILE)",
        )
    return url.get_secret_value()


@contextmanager
def _as_config_error(label: str, settings: Settings) -> Iterator[None]:
    """A catalog that cannot be had is a matter of what was typed or set, and nothing was bought."""
    try:
        with disk_errors(settings.home / "catalogs"):
            yield
    except ArchiveError as error:
        if error.code is Code.TOO_LARGE:
            what = f"{error.message} ({PREFIX}CATALOG_MAX_BYTES)"
            raise ConfigError(Code.CATALOG_INVALID, what, **error.details) from None
        code = error.code if error.code in _PASSED_ON else Code.CATALOG_UNREACHABLE
        raise ConfigError(code, error.message, **error.details) from None
    except OSError as error:
        where = settings.home / "catalogs"
        raise ConfigError(Code.SETTINGS_INVALID, f"{label} cannot be kept in {where}: {error.strerror}") from None
