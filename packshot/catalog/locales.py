"""Columns that come in several languages, channels or currencies: which of them is read.

``name-en_US``, ``description-en_US-ecommerce``, ``name.de``, ``name:zh_Hans`` say the same thing for different readers.
One language is taken for the whole table, because a prompt in two would be about two products.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from packshot.catalog.filecheck import bad_catalog
from packshot.catalog.options import CatalogOptions
from packshot.catalog.tables import Table

# ISO 639-1: a two-letter ending such as "hd" is none.
_LANGUAGES = (
    " aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el "
    "en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja "
    "jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd "
    "ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss "
    "st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu "
)
_LOCALE = re.compile(r"([A-Za-z]{2,3})([-_][A-Z][a-z]{3})?([-_](?:[A-Za-z]{2}|\d{3}))?")
_SCOPED = re.compile(rf"(?P<base>.+?)[-.:](?P<locale>{_LOCALE.pattern})(?:-(?P<channel>[A-Za-z0-9_]+))?")


class Scoped(NamedTuple):
    """A column's name, taken apart; what it does not say is empty."""

    column: str
    base: str
    locale: str = ""
    channel: str = ""
    currency: str = ""


class Choice(NamedTuple):
    """One column for each thing that a table says."""

    columns: dict[str, str]
    """Base -> the column that is read."""
    locales: list[str]
    """Those of the file; the one taken stands first."""
    channels: list[str]
    localised: set[str]
    """The columns read that are of a language or a channel."""
    elsewhere: set[str]
    """Those in another language than the one taken, because they are not there in it."""

    @property
    def locale(self) -> str:
        return self.locales[0] if self.locales else ""


def is_locale(text: str) -> bool:
    """``de``, ``en_US``, ``zh_Hans``, ``fil_PH``; not ``xl`` or ``web``."""
    match = _LOCALE.fullmatch(text)
    return match is not None and (
        f" {match[1].lower()} " in _LANGUAGES or (len(match[1]) == 3 and bool(match[2] or match[3]))
    )


def scoped(column: str) -> Scoped:
    """``description-en_US-ecommerce`` -> base ``description``, locale ``en_US``, channel ``ecommerce``."""
    match = _SCOPED.fullmatch(column)
    if match is None or not is_locale(match["locale"]):
        return Scoped(column, column)
    return Scoped(column, match["base"], match["locale"], match["channel"] or "")


def choose_columns(columns: Sequence[Scoped], options: CatalogOptions, texts: Collection[str] = ()) -> Choice:
    """One column for each base, in the locale and channel of the options, or else in the file's first.

    ``texts``: bases whose first locale is the file's first, such as the title's. A base that is not there in the
    locale is taken without one, or in another. Nothing is refused here, see :func:`check_languages`.
    """
    by_text = sorted(columns, key=lambda c: c.base.casefold() not in texts)
    locales = list(dict.fromkeys(c.locale for c in by_text if c.locale))
    channels = list(dict.fromkeys(c.channel for c in by_text if c.channel))
    locales.sort(key=lambda locale: _distance(locale, options.locale) if options.locale else 0)
    channels.sort(key=lambda channel: channel.casefold() != options.channel.casefold() if options.channel else False)
    locale, channel = (locales or [""])[0], (channels or [""])[0]

    def rank(candidate: Scoped) -> tuple[int, bool, bool]:
        """The better, the smaller."""
        unlocalised = 0 if not options.locale else 2
        distance = _distance(candidate.locale, locale) if candidate.locale else unlocalised
        strange = bool(candidate.channel) and candidate.channel != channel
        return distance, strange, bool(options.currency) and candidate.currency != options.currency.upper()

    best: dict[str, Scoped] = {}
    for candidate in columns:
        known = best.get(candidate.base)
        if known is None or rank(candidate) < rank(known):
            best[candidate.base] = candidate
    localised = {c.column for c in best.values() if c.locale or c.channel}
    elsewhere = {c.column for c in best.values() if c.locale and _distance(c.locale, locale) > 1}
    return Choice({base: c.column for base, c in best.items()}, locales, channels, localised, elsewhere)


def _distance(locale: str, wanted: str) -> int:
    """0: the same, 1: the same language, 3: another."""
    one, other = (re.split("[-_]", text.casefold()) for text in (locale, wanted))
    return 0 if one == other else 1 if one[0] == other[0] else 3


def check_languages(table: Table, choice: Choice, options: CatalogOptions, used: Collection[str]) -> None:
    """Notes what was taken among several; ``used``: the columns that are read.

    Raises:
        ConfigError: the file has locales or channels, but not the one that was asked for.
    """
    if choice.localised.isdisjoint(used):
        return
    if options.locale and choice.locales and _distance(choice.locale, options.locale) > 1:
        raise bad_catalog(table.label, f"has no columns in {options.locale!r}. Found: {', '.join(choice.locales)}")
    if options.channel and choice.channels and choice.channels[0].casefold() != options.channel.casefold():
        found = ", ".join(choice.channels)
        raise bad_catalog(table.label, f"has no columns for the channel {options.channel!r}. Found: {found}")
    notes = []
    like = [other for other in choice.locales[1:] if not options.locale or _distance(other, options.locale) == 1]
    exact = bool(options.locale) and _distance(choice.locale, options.locale) == 0
    if like and not exact:
        notes.append(
            f"several languages: {choice.locale} taken, not {', '.join(like)}; set locale to choose among them"
        )
    elif options.locale and not exact and not choice.locale.casefold().startswith(options.locale.casefold()):
        notes.append(f"nothing is there in {options.locale}: {choice.locale} taken")
    if len(choice.channels) > 1 and not options.channel:
        others = ", ".join(choice.channels[1:])
        notes.append(f"several channels: {choice.channels[0]} taken, not {others}; set channel to choose among them")
    strange = [column for column in dict.fromkeys(used) if column in choice.elsewhere]
    if strange:
        notes.append(f"not there in {choice.locale}, so taken in another language: {', '.join(strange)}")
    table.notes += [note for note in notes if note not in table.notes]
