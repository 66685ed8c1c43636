"""Which columns of an unknown catalog probably hold the key, the title and the photos, and how to say so.

What the cells look like decides what a column can be; its name, in some languages, only which of several is proposed.
A person confirms it: nothing is read by a suggestion.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from packshot.catalog.columns import UnmappedColumns
from packshot.catalog.images import refusal
from packshot.catalog.records import Unreadable
from packshot.catalog.tables import Table
from packshot.catalog.tables.json_text import parse_object
from packshot.catalog.text import plain_text

SAMPLE = 200
"""Records looked at."""

_KEY_WORDS = re.compile(
    r"sku|artik|article|art\b|item|product|prod|nummer|number|\bno\b|\bnr\b|n[°ºo]\b|num|code|\bid\b|ref|kod|código|codigo"
    r"|арт|код|品番|番号|コード|编号|货号|款号|번호|코드",
    re.IGNORECASE,
)
_NOT_KEY_WORDS = re.compile(
    r"price|preis|prix|precio|stock|bestand|gtin|ean|barcode|date|datum|time|zeit", re.IGNORECASE
)
_TITLE_WORDS = re.compile(
    r"name|titel|title|bezeichn|benennung|nom\b|désignation|designation|libell|intitul|nombre|título|titulo|nome"
    r"|naam|namn|navn|nazwa|название|наименование|品名|商品名|名称|标题|タイトル|상품명",
    re.IGNORECASE,
)
_NOT_TITLE_WORDS = re.compile(
    r"beschr|descr|text|detail|brand|marke|marque|hersteller|categ|kateg|grupp|gruppe|group|colou?r|farbe|size|größe"
    r"|material|seo|meta|tag|date|datum|lieferant|supplier|vendor",
    re.IGNORECASE,
)
_PICTURE = re.compile(r"\.(jpe?g|png|webp|gif|tiff?|bmp|avif|heic)\b", re.IGNORECASE)
_PICTURE_WORDS = re.compile(
    r"image|img|bild|foto|photo|pict|imagen|immagin|obraz|фото|картин|画像|图|이미지", re.IGNORECASE
)
_NUMBER = re.compile(r"[-+]?[\d.,\s]+")
_AMOUNT = re.compile(r"\d+[.,]\d{1,2}|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?")
"""A price, or a date."""

_FILLED = 0.8
_DISTINCT_TITLES = 0.6
_GOOD_KEYS = 0.6
_KEY_LENGTH = 64
_TITLE_WIDTHS = (8, 150)


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    place: int
    filled: Sequence[str]
    records: int

    @property
    def share_filled(self) -> float:
        return len(self.filled) / self.records

    @property
    def share_distinct(self) -> float:
        return len({cell.casefold() for cell in self.filled}) / max(1, len(self.filled))

    def share(self, holds: Iterable[bool]) -> float:
        return sum(holds) / max(1, len(self.filled))


def with_suggestion(error: UnmappedColumns, table: Table) -> UnmappedColumns:
    """The error with the mapping that the first records suggest, in its message and as ``details["suggested"]``."""
    found = suggest(table.header, _sample(table), error.details["known"])
    known = {*error.details["known"], *found}
    missing = {target: ["COLUMN"] for target in ("product_key", "title") if target not in known}
    hints = [error.message]
    if found:
        hints.append(f"Perhaps: {mapping_flags(found)} (in catalog.yaml: {mapping_yaml(found)})")
    if missing:
        hints.append(f"Map what holds {'the rest' if found else 'it'}: {mapping_flags(missing)}")
    return UnmappedColumns(error.code, ". ".join(hints), **error.details, suggested=found)


def suggestion_for(table: Table, mapping: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """As :func:`suggest`, of the columns that feed no target yet."""
    used = {name for names in mapping.values() for name in names}
    found = suggest(table.header, _sample(table), mapping)
    free = {target: [name for name in names if name not in used] for target, names in found.items()}
    return {target: names for target, names in free.items() if names}


def _sample(table: Table) -> Iterator[Sequence[str]]:
    """Cells below the header; of a JSON object the plain values of its keys."""
    for record in islice(table.records(), SAMPLE):
        if isinstance(record, Unreadable) or record.blank:
            continue
        if not table.objects:
            yield record.cells
            continue
        parsed = parse_object(record.cells[0])
        if isinstance(parsed, dict):
            yield [_plain(parsed.get(key)) for key in table.header]


def _plain(value: object) -> str:
    if isinstance(value, list):
        return _plain(value[0]) if value else ""
    return value.strip() if isinstance(value, str) else ""


def suggest(header: Sequence[str], records: Iterable[Sequence[str]], known: Iterable[str] = ()) -> dict[str, list[str]]:
    """Target -> columns, for those of key, title and photos that are not ``known`` and for which a column looks right.

    ``records``: the cells of the first ones, as many as the header has names. Columns without a name are not proposed.
    """
    rows = [row for row in records if any(row)]
    if not rows:
        return {}
    columns = [
        _Column(name, place, [row[place] for row in rows if place < len(row) and row[place]], len(rows))
        for place, name in enumerate(header)
        if name
    ]
    columns = [column for column in columns if column.filled]
    pictures = [column for column in columns if _is_picture(column)]
    texts = [column for column in columns if column not in pictures]
    titles = sorted(filter(_is_title, texts), key=_title_rank)
    keys = sorted(filter(_is_key, texts), key=_key_rank)
    found: dict[str, list[str]] = {}
    # A title is a name to fall back on where nothing else tells products apart.
    for target, ranked in (("product_key", keys or [t for t in titles if t.share_distinct == 1]), ("title", titles)):
        if ranked:
            found[target] = [ranked[0].name]
    if pictures:
        found["image_refs"] = [column.name for column in pictures]
    return {target: names for target, names in found.items() if target not in set(known)}


def mapping_flags(mapping: Mapping[str, Sequence[str]]) -> str:
    """``--map product_key="Article no" --map title=Name``, ready for a shell."""
    return " ".join(f"--map {shell_word(f'{target}={name}')}" for target, names in mapping.items() for name in names)


def mapping_yaml(mapping: Mapping[str, Sequence[str]]) -> str:
    """``mapping: {product_key: "Article no", title: "Name"}``, ready for a ``catalog.yaml``."""
    entries = (
        f"{target}: {_quoted(names[0]) if len(names) == 1 else '[' + ', '.join(map(_quoted, names)) + ']'}"
        for target, names in mapping.items()
    )
    return f"mapping: {{{', '.join(entries)}}}"


def shell_word(text: str) -> str:
    """The text as one word of a shell command: ``title="Article name"``."""
    if re.fullmatch(r"[\w.,:/@%+=-]+", text):
        return text
    if re.search(r'["$`\\!]', text):  # what a shell reads even between double quotes
        return shlex.quote(text)
    before, equals, after = text.rpartition("=")
    return f'{before}{equals}"{after}"' if re.fullmatch(r"[\w.]*", before) else f'"{text}"'


def _quoted(column: str) -> str:
    escaped = column.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _is_picture(column: _Column) -> bool:
    pictures = (bool(_PICTURE.search(cell)) for cell in column.filled)
    if column.share(pictures) >= _FILLED:
        return True
    # Image services leave the ending out; then the column has to say what its addresses are.
    urls = (
        cell.lower().startswith(("http://", "https://")) and not refusal(cell.split(",")[0]) for cell in column.filled
    )
    return bool(_PICTURE_WORDS.search(column.name)) and column.share(urls) >= _FILLED


def _is_key(column: _Column) -> bool:
    cells = column.filled
    named = bool(_KEY_WORDS.search(column.name))
    # Real catalogs have some records without a key, and some twice: a column that is called a key may have both.
    if min(column.share_filled, column.share_distinct) < (_GOOD_KEYS if named else 1):
        return False
    if _NOT_KEY_WORDS.search(column.name) or max(map(len, cells)) > _KEY_LENGTH:
        return False
    codes = (
        " " not in cell and "://" not in cell and "@" not in cell and not _AMOUNT.fullmatch(cell) for cell in cells
    )
    return column.share(codes) > 0.5


def _key_rank(column: _Column) -> tuple[bool, bool, int]:
    """A running number last: it changes from export to export. Named like a key before others, then as in the file."""
    running = all(cell.isdecimal() and int(cell) == number for number, cell in enumerate(column.filled, start=1))
    return running, not _KEY_WORDS.search(column.name), column.place


def _is_title(column: _Column) -> bool:
    texts = [plain_text(cell) for cell in column.filled]
    words = column.share(bool(re.search(r"[^\W\d_]{2}", text)) and not _NUMBER.fullmatch(text) for text in texts)
    if column.share_filled < _FILLED or words < _FILLED or column.share("://" in text for text in texts) > 0:
        return False
    named = bool(_TITLE_WORDS.search(column.name))
    widths = sorted(map(_width, texts))
    shortest, longest = _TITLE_WIDTHS
    middle = widths[len(widths) // 2]
    if middle > longest or (middle < shortest and not named):
        return False
    many_words = column.share(" " in text or _width(text) > len(text) for text in texts)
    return named or (column.share_distinct >= _DISTINCT_TITLES and many_words >= 0.5)


def _title_rank(column: _Column) -> tuple[bool, bool, bool, int]:
    """Named like a title before others, distinct before repeated, then as in the file."""
    return (
        bool(_NOT_TITLE_WORDS.search(column.name)),
        not _TITLE_WORDS.search(column.name),
        column.share_distinct < _DISTINCT_TITLES,
        column.place,
    )


def _width(text: str) -> int:
    """Columns on a screen: Chinese, Japanese and Korean say with one character what others say with several."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
