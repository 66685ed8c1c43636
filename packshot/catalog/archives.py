"""Catalogs that come compressed: gzip, and ZIP archives that hold one.

Both are read as a stream. All of it is unpacked once when the catalog is opened, without being kept: what is cut off,
damaged or made to fill the disk is refused before the first record, not in the middle of a run.
"""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, BinaryIO, cast

from packshot.catalog.filecheck import ZIP, bad_catalog
from packshot.catalog.source import Source
from packshot.catalog.text import one_line

UNPACKED_MAX = 1 << 30
"""Bytes that a compressed catalog may grow to, unless a setting says otherwise."""
RATIO_MAX, RATIO_FROM = 200, 64 << 20
"""Tables shrink to a tenth, very dull ones to a hundredth. What grows by more, and beyond these bytes, is a bomb."""
DIRECTORY_MAX = 16 << 20
"""Bytes of a ZIP archive's list of files: some 200,000 names."""

GZIP, EMPTY_ZIP = b"\x1f\x8b", b"PK\x05\x06"
_OFFICE = {"[Content_Types].xml", "xl/workbook.xml", "mimetype"}
"""One of these is in every workbook, which is a ZIP archive too."""
_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".tif", ".tiff", ".bmp", ".svg", ".heic"}
_BLOCK = 1 << 18
_DAMAGE = (
    OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError,
    struct.error, IndexError, OverflowError, KeyError,
)  # fmt: skip
"""What the standard library raises for archives that somebody cut or altered."""


def unpacked(source: Source, member: str = "", max_bytes: int = UNPACKED_MAX) -> Source:
    """The catalog inside a compressed source; the source itself when it is none.

    ``member`` names the file in a ZIP archive; without it there must be exactly one, not counting folders, dotfiles,
    pictures and what macOS adds.

    Raises:
        ConfigError: it is damaged, cut off, encrypted, or larger than ``max_bytes`` when unpacked; or the archive holds
            no such file, none, or several.
    """
    try:
        with source.open() as file:
            head = file.read(4)
    except OSError as error:
        raise bad_catalog(source.label, f"cannot be read: {error.strerror}") from None
    if head.startswith(GZIP) and not member:
        return _verified(source, "", max_bytes)
    if head in (ZIP, EMPTY_ZIP):
        chosen = _choose(source, member)
        return _verified(source, chosen, max_bytes, named=bool(member)) if chosen else source
    if member:
        raise bad_catalog(source.label, f"is no ZIP archive, so there is no {member!r} in it")
    return source


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A compressed source that was unpacked once already. ``member``: the file in a ZIP archive, empty for gzip."""

    packed: Source
    member: str
    named: bool
    """The user named the member, so the catalog is called after it."""
    size: int
    """Bytes, unpacked."""
    max_bytes: int

    @property
    def name(self) -> str:
        return f"{self.packed.name}#{self.member}" if self.named else self.packed.name

    @property
    def label(self) -> str:
        return f"{self.packed.label}#{self.member}" if self.named else self.packed.label

    @property
    def stem(self) -> str:
        return PurePosixPath(self.member).stem if self.named else self.packed.stem

    def open(self) -> BinaryIO:
        return io.BufferedReader(_Unpacking(self), _BLOCK)

    def beside(self, name: str) -> Source:
        """In the archive, if there is such a file, else beside it."""
        if self.member:
            path = str(PurePosixPath(self.member).parent / name)
            with _damage(self.packed), self.packed.open() as file, _opened(file) as archive:
                inside = path in archive.namelist()
            if inside:
                return _verified(self.packed, path, self.max_bytes, named=True)
        return unpacked(self.packed.beside(name), max_bytes=self.max_bytes)


class _Unpacking(io.RawIOBase):
    """One pass over the unpacked bytes. Holds to the size that was found when the catalog was opened."""

    def __init__(self, source: Unpacked) -> None:
        self._source = source
        with _damage(source.packed, later=True):
            self._opened, self._file = _open_packed(source.packed, source.member)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        with _damage(self._source.packed, later=True):
            block = self._file.read(len(view))
            if self._file.tell() > self._source.size:
                raise ValueError("longer than before")
        view[: len(block)] = block
        return len(block)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        with _damage(self._source.packed, later=True):
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
        super().close()


class _Directory(io.BufferedReader):
    """An archive's list of files is read in one go, so that is where one made to fill the memory shows."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > DIRECTORY_MAX:
            raise zipfile.BadZipFile("its list of files is too long")
        return super().read(size)


def _open_packed(source: Source, member: str) -> tuple[ExitStack, IO[bytes]]:
    """The unpacked bytes, and what must be closed after them."""
    with ExitStack() as stack:
        file = stack.enter_context(source.open())
        if not member:
            return stack.pop_all(), cast(IO[bytes], gzip.GzipFile(fileobj=file))
        archive = stack.enter_context(_opened(file))
        unpacking = stack.enter_context(archive.open(member))
        return stack.pop_all(), unpacking
    raise AssertionError("nothing above is swallowed")


def _opened(file: BinaryIO) -> zipfile.ZipFile:
    return zipfile.ZipFile(_Directory(file))  # type: ignore[arg-type]  # what can be read is raw enough


def _verified(source: Source, member: str, max_bytes: int, named: bool = False) -> Unpacked:
    """Unpacks all of it once."""
    size = 0
    with _damage(source), ExitStack() as stack:
        file = stack.enter_context(source.open())
        packed = file.seek(0, io.SEEK_END)
        opened, unpacking = _open_packed(source, member)
        stack.enter_context(opened)
        while block := unpacking.read(_BLOCK):
            if not size and block.startswith(GZIP):
                raise bad_catalog(source.label, "holds a file that is compressed once more: unpack it first")
            size += len(block)
            if size > max_bytes:
                raise bad_catalog(source.label, f"is larger than {max_bytes:,} bytes when it is unpacked")
            if size > RATIO_FROM and size > packed * RATIO_MAX:
                what = f"is {packed:,} bytes that unpack to more than {RATIO_MAX} times as many"
                raise bad_catalog(source.label, f"{what}: no catalog shrinks like this")
    return Unpacked(source, member, named, size, max_bytes)


def _choose(source: Source, member: str) -> str:
    """The catalog among the files of a ZIP archive; empty for a workbook."""
    with _damage(source), source.open() as file, _opened(file) as archive:
        infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    if not member and _OFFICE & infos.keys():
        return ""
    names = [member] if member in infos else [name for name in infos if _may_be_catalog(name)]
    if member and names != [member]:
        raise bad_catalog(source.label, f"holds no {member!r}. In it: {_listed(names)}")
    if not names:
        raise bad_catalog(source.label, "is a ZIP archive without a catalog in it")
    if len(names) > 1:
        how = f"name one, as in {source.name}#{one_line(names[0])}, or unpack it"
        raise bad_catalog(source.label, f"holds {len(names)} files: {_listed(names)}. Allowed is one: {how}")
    if infos[names[0]].flag_bits & 1:
        raise bad_catalog(source.label, f"is encrypted with a password ({names[0]!r}): unpack it first")
    return names[0]


def _may_be_catalog(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and path.suffix.lower() not in _PICTURES


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(one_line(name) for name in names[:10]) + more


@contextmanager
def _damage(source: Source, later: bool = False) -> Iterator[None]:
    """What the standard library says about bytes that somebody cut or altered, as our error."""
    try:
        yield
    except (EOFError, *_DAMAGE) as error:
        what = "is a compressed file (gzip or ZIP) that is damaged or cut off"
        if later:
            what = "was changed while it was read, or its disk fails"
        reason = "it ends too early" if isinstance(error, EOFError) else one_line(str(error)) or type(error).__name__
        raise bad_catalog(source.label, f"{what}: {reason}") from None
