"""What a person typed as the catalog becomes sources that can be read."""

from __future__ import annotations

from packshot.catalog.local_files import local_sources
from packshot.catalog.source import Source
from packshot.catalog_address import Place, read_address
from packshot.errors import Code, ConfigError
from packshot.settings import Settings


def sources_of(catalog: str, settings: Settings) -> list[Source]:
    """The files (or the table) that ``catalog`` names, ready to be read; several for a pattern such as ``*.csv``.

    ``-`` is refused: only a command has a standard input, and turns it into a file first, see :func:`with_stdin_saved`.

    Raises:
        ConfigError: there is no such thing, it may not or cannot be fetched, or it cannot be unpacked.
    """
    address = read_address(catalog)
    if address.place is not Place.FILE:
        raise ConfigError(Code.CATALOG_INVALID, f"{address.label} cannot be read yet")
    return local_sources(address.target)
