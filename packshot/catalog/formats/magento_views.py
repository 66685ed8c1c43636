"""Magento's store views: further rows of a SKU that say what a product is called there."""

from __future__ import annotations

from collections.abc import Callable

from packshot.catalog.draft import Builder, Draft
from packshot.catalog.parents import Parents
from packshot.catalog.records import Record
from packshot.catalog.tables import Table
from packshot.catalog.text import one_line, shorten

_SHOWN = 40


class StoreViews:
    """Tells which row is a SKU's product and which only says how a store view differs.

    The product is the row without a store view; where a file has none, the row of the view that is wanted, else the
    first row. The wanted view, by the options ``channel`` and ``locale``, lends the product its words.
    """

    def __init__(self, builder: Builder, read: Callable[[Record], Draft], place: int) -> None:
        self._tally = builder.tally
        self._read = read
        self._place = place
        self._wanted = _wanted(builder.options.channel, builder.options.locale)
        self._view_of_product: dict[int, str] = {}
        """Hash of a SKU -> the view of the row that is its product."""
        self._said_there = Parents()
        self._told = 0

    def close(self) -> None:
        self._said_there.close()

    def look_through(self, table: Table) -> None:
        """Go through all rows once, before the first one is read."""
        found: dict[str, None] = {}
        met = False
        for record in table.records():
            if not isinstance(record, Record) or record.blank:
                continue
            draft = self._read(record)
            draft.clean_keys()
            if not draft.product_key:
                continue
            view, key = self._view(record), hash(draft.product_key)
            known = self._view_of_product.get(key)
            if known is None or (known and (not view or (view in self._wanted and known not in self._wanted))):
                self._view_of_product[key] = view
            if view and view in self._wanted:
                met = True
                draft.is_parent, draft.children = True, ()
                self._said_there.take(draft)
            elif view and len(found) < _SHOWN:
                found[view] = None
        if self._wanted and found and not met:
            self._tally.remark(f"store view {' or '.join(self._wanted)} not in the file, which has", ", ".join(found))

    def read(self, record: Record) -> Draft | None:
        """The product; None for a row that only says how a store view differs."""
        draft = self._read(record)
        draft.clean_keys()
        view = self._view(record)
        if not draft.product_key:
            return draft
        if view != self._view_of_product.get(hash(draft.product_key)):
            if view not in self._wanted and record.number > self._told:
                self._told = record.number  # rows are read twice
                self._tally.remark("row of another store view (see locale and channel) left out, product", draft.sku)
            return None
        said_there = [] if view else self._said_there.line(draft.product_key)
        if not said_there:
            return draft
        there = said_there[0]
        there.fill_from(draft)
        there.is_parent, there.children, there.names = draft.is_parent, draft.children, draft.names
        return there

    def _view(self, record: Record) -> str:
        return shorten(one_line(record.cells[self._place]).casefold(), _SHOWN)


def _wanted(channel: str, locale: str) -> tuple[str, ...]:
    if channel:
        return (one_line(channel).casefold(),)
    if not locale:
        return ()
    code = locale.casefold().replace("-", "_")
    return tuple(dict.fromkeys((code, code.split("_")[0])))
