"""``catalog.yaml``: how a catalog is to be read, written down beside it.

    source: products.csv
    mapping: {product_key: Artikel, title: Bezeichnung}
    locale: de

``source`` is a file, a glob, a URL or whatever else a catalog may be read from; a path starts at the YAML's folder.
All other fields are those of :class:`CatalogOptions`. What the run's own options say counts more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from os.path import realpath
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator

from packshot.catalog.options import CatalogOptions
from packshot.errors import Code, ConfigError
from packshot.inputs.address import Place, read_address
from packshot.yaml_file import Grammar, Loc, parse_yaml, peek_yaml, read_text

FILE_NAME = "catalog.yaml"
_ENDINGS = (".yaml", ".yml")
_MERGED = ("mapping", "split", "where")
"""Fields that are made of entries: the run's options replace single ones of them."""

_SECRET = re.compile(
    r"//[^/@\s]*:[^/@\s]+@|[?&;]([^=&;]*[-_.])?(sig|signature|token|secret|password|passwd|pwd|api_?key|key|auth)=",
    re.IGNORECASE,
)
"""A password before a URL's host, or a parameter that is one."""


class CatalogFile(CatalogOptions):
    """What a ``catalog.yaml`` says."""

    source: str = Field(min_length=1, max_length=1000)

    @field_validator("source")
    @classmethod
    def _no_secrets(cls, value: str) -> str:
        # The value is not repeated: the message is logged and stored.
        if Path(value).suffix.lower() in _ENDINGS:
            raise ValueError("names another YAML file; it must name the data itself")
        if _SECRET.search(value):
            raise ValueError("holds a password, token or signature; secrets do not belong in this file")
        return value


@dataclass(frozen=True, slots=True)
class ChosenCatalog:
    """Which catalog to read, and how."""

    source: str
    """As ``open_catalog`` takes it."""
    options: CatalogOptions
    folder: Path | None
    """Where relative photo paths start; None: the catalog lies in no folder of this machine."""
    notes: list[str] = field(default_factory=list)


def choose_catalog(typed: str, given: Mapping[str, Any]) -> ChosenCatalog:
    """The catalog that a person means by ``typed``: the data, or a YAML file that names it.

    A ``catalog.yaml`` in the data's folder counts too, if its ``source`` is that very data. ``given``: options of the
    run, as the fields of :class:`CatalogOptions`; they win over the file's.

    Raises:
        ConfigError: the YAML file cannot be used, or an option is wrong; names file, line, field and what is allowed.
    """
    path = Path(typed)
    if is_catalog_file(typed):
        named = load_catalog_file(path)
        source = _source_from(named.source, path.parent)
        folder = read_address(source).folder or path.absolute().parent
        return ChosenCatalog(source, _checked(typed, combined(named, given)), folder)
    address = read_address(typed)
    found, notes = _beside(typed) if address.place is Place.FILE else (None, [])
    return ChosenCatalog(typed, _checked(typed, combined(found, given)), address.folder, notes)


def combined(stated: CatalogOptions | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that count: those given for the run, then those stated in the file.

    Of ``mapping``, ``split`` and ``where`` single entries are replaced, so that ``--map title=Name`` keeps the rest.
    """
    said = stated.model_dump(exclude_unset=True, exclude={"source"}) if stated else {}
    if "product_key" in given.get("mapping", {}):
        said.pop("group_by", None)  # another word for the same
    return said | {
        name: said[name] | value if name in _MERGED and name in said else value for name, value in given.items()
    }


def load_catalog_file(path: Path) -> CatalogFile:
    """Read and check a catalog file.

    Raises:
        ConfigError: it is missing, no YAML, or holds what it should not; names line, field, and what is allowed.
    """
    return parse_yaml(read_text(path, GRAMMAR), str(path), CatalogFile, GRAMMAR)


def catalog_yaml(source: str, fields: Mapping[str, Any]) -> str:
    """The text of a catalog file; fields that say nothing are left out."""
    said = {"source": source} | {name: value for name, value in fields.items() if value}
    return yaml.safe_dump(said, allow_unicode=True, sort_keys=False, width=1000)


def is_catalog_file(typed: str) -> bool:
    """A YAML file's path, not the data's."""
    return Path(typed).suffix.lower() in _ENDINGS and read_address(typed).place is Place.FILE


def _beside(typed: str) -> tuple[CatalogFile | None, list[str]]:
    """The catalog file in the data's folder that is for this data, and what a person should know about it."""
    path = Path(typed).parent / FILE_NAME
    if not path.is_file():
        return None, []
    # Other programs, and other catalogs in the folder, may have a file of this name: only its source decides.
    found = peek_yaml(read_text(path, GRAMMAR), str(path), GRAMMAR)
    source = found.get("source") if isinstance(found, dict) else None
    if not isinstance(source, str):
        return None, [f"{path} names no source, so it is not used"]
    if realpath(_source_from(source, path.parent)) != realpath(typed):
        return None, []
    return load_catalog_file(path), [f"{path} says how to read it"]


def _source_from(source: str, folder: Path) -> str:
    return str(folder / source) if read_address(source).place is Place.FILE else source


def _checked(typed: str, fields: dict[str, Any]) -> CatalogOptions:
    try:
        return CatalogOptions.model_validate(fields)
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(Code.CATALOG_INVALID, f"how to read {read_address(typed).label}: {reasons}") from None


def _place(loc: Loc, _root: yaml.Node) -> str:
    """Without the endings that pydantic gives to keys and to one of several types."""
    named = [str(part) for part in loc if part not in ("[key]", "str", "list[str]")]
    return f"{'.'.join(named)} " if named else "the file "


GRAMMAR = Grammar(
    what="a catalog file",
    code=Code.CATALOG_INVALID,
    needs="`source:`, the file with the products",
    model_at=lambda _loc: CatalogFile,
    place=_place,
    words={
        "dict_type": "must hold fields, like `title: Name`",
        "model_type": "must hold fields, like `source: products.csv`",
        "model_attributes_type": "must hold fields, like `source: products.csv`",
        "greater_than_equal": "must be 0 or more",
    },
)
