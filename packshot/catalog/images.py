"""Image references: which strings may name a product's photo. Nothing is fetched or opened here."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from urllib.parse import quote, urlsplit

_MAX = 2048
is_usual = re.compile(r"https?://[a-zA-Z0-9.-]{1,200}(?::\d{1,4})?/[!#-;=?-Z_a-z~]{0,1500}").fullmatch
"""What nearly all references look like; taken without a closer look."""


def split_refs(cell: str, separator: str) -> list[str]:
    """The references in one cell: one, several between separators, or a JSON list of strings.

    Commas are legal in URLs (image services put sizes between them), so a cell that begins with a URL is cut only at
    commas that another URL follows.
    """
    cell = cell.strip()
    if not cell:
        return []
    if cell.startswith("["):
        try:
            items = json.loads(cell)
        except (ValueError, RecursionError):
            items = None
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return [item.strip() for item in items if item.strip()]
    if separator == "json":
        return []
    if not separator or separator not in cell:
        return [cell]
    if separator == "," and re.match("https?://", cell, re.IGNORECASE):
        parts = re.split(r",\s*(?=https?://|$)", cell, flags=re.IGNORECASE)
    else:
        parts = cell.split(separator)
    return [part.strip() for part in parts if part.strip()]


def under_root(ref: str, root: str) -> str:
    """A relative reference below ``root`` (an http(s) URL or a folder); others as they are.

    A leading slash is the root's own, as in Magento's ``/m/h/mh01.jpg``. What leads out of the root stays as it is, to
    be refused.
    """
    if not root or ".." in PurePosixPath(ref).parts or re.match("[a-z][a-z0-9+.-]*:|//", ref, re.IGNORECASE):
        return ref
    path = ref.lstrip("/")
    if "//" in root:
        path = quote(path, safe="/%-._~!$&'()*+,;=:@")
    return f"{root.rstrip('/')}/{path}"


def refusal(ref: str) -> str:
    """Why this reference is not taken, or an empty string when it is."""
    if is_usual(ref):
        return ""
    if len(ref) > _MAX:
        return f"longer than {_MAX} characters"
    if not ref.isprintable():
        return "holds control characters"
    try:
        parts = urlsplit(ref)
        host, user = parts.hostname, parts.username
    except ValueError:
        return "not a valid URL"
    if parts.scheme in ("http", "https"):
        if user is not None:
            return "holds a user name"
        return "" if host else "a URL without a host"
    if parts.scheme:
        return "neither http(s) nor a relative path"
    path = PurePosixPath(ref)
    if path.is_absolute() and not ref.startswith("//"):
        return "a path from a root that media_root does not name"
    if "\\" in ref or path.is_absolute() or ref.startswith("~"):
        return "not a relative path with forward slashes"
    if ".." in path.parts:
        return "leads out of the catalog's folder"
    return "" if path.name else "names no file"
