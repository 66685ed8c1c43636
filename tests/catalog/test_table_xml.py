"""Product feeds in XML."""

from __future__ import annotations

import json
import re
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.catalog import CatalogOptions, open_catalog
from packshot.catalog.local_files import local_file
from packshot.catalog.records import Record, Unreadable
from packshot.catalog.tables.opening import open_table
from packshot.errors import Code, ConfigError
from tests.catalog.catalog_files import SAMPLES, read, write
from tests.catalog.test_catalog_properties import survive

NS = 'xmlns:g="http://base.google.com/ns/1.0"'


def item(key: str, title: str = "Mug", more: str = "") -> str:
    return f"<item><g:id>{key}</g:id><title>{title}</title>{more}</item>"


def rss(*items: str, ns: str = NS) -> str:
    body = "\n".join(items)
    return (
        f'<rss {ns} version="2.0"><channel><title>Shop</title><link>https://x.example</link>\n{body}\n</channel></rss>'
    )


def rows(path: Path, **options: Any) -> tuple[list[dict[str, str]], list[Unreadable]]:
    """Filled cells by column, and what could not be read."""
    table = open_table(local_file(path), CatalogOptions(**options))
    found = list(table.records())
    good = [record for record in found if isinstance(record, Record)]
    cells = [{n: c for n, c in zip(table.header, record.cells, strict=True) if c} for record in good]
    assert [record.number for record in found] == list(range(1, len(found) + 1))
    return cells, [record for record in found if isinstance(record, Unreadable)]


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        open_catalog(path, CatalogOptions(**options))
    return caught.value.message


def test_rss(tmp_path: Path) -> None:
    text = rss(
        item("a", "T&amp;C <![CDATA[<b>bold</b> & more]]>", "<g:price>9.90 EUR</g:price>"),
        item(
            "b",
            "plain",
            "<g:title>Google's</g:title>"
            "<g:additional_image_link>https://x.example/1.jpg</g:additional_image_link>"
            "<g:additional_image_link>https://x.example/2.jpg</g:additional_image_link>"
            "<g:shipping><g:country>DE</g:country><g:price>4 EUR</g:price></g:shipping><g:empty/>",
        ),
    )
    path = write(tmp_path, text, "feed.xml")
    cells, faults = rows(path)
    assert faults == []
    assert cells[0] == {"id": "a", "title": "T&C <b>bold</b> & more", "price": "9.90 EUR"}
    assert cells[1] == {
        "id": "b",
        "title": "Google's",
        "additional_image_link": '["https://x.example/1.jpg", "https://x.example/2.jpg"]',
        "shipping": '{"country": "DE", "price": "4 EUR"}',
    }
    reader, products, rejects = read(path)
    assert (reader.kind, reader.encoding, reader.notes, rejects) == ("XML feed", "utf-8", [], [])
    assert products[1].image_refs == ("https://x.example/1.jpg", "https://x.example/2.jpg")
    assert [p.line for p in products] == [2, 3]


@pytest.mark.parametrize("prefix", ["", "a:"])
def test_atom(tmp_path: Path, prefix: str) -> None:
    p = prefix
    text = (
        f'<{p}feed xmlns{":a" if p else ""}="http://www.w3.org/2005/Atom" xmlns:goo="http://base.google.com/ns/1.0">'
        f"<{p}title>Shop</{p}title><{p}entry><goo:id>a</goo:id><{p}id>urn:a</{p}id><{p}title>Mug</{p}title>"
        f'<{p}link rel="edit" href="https://x.example/edit"/><{p}link href="https://x.example/a"/>'
        f'<{p}content type="xhtml"><div>Two <b>words</b><br/>and more</div></{p}content>'
        f"</{p}entry></{p}feed>"
    )
    assert rows(write(tmp_path, text, "feed.xml")) == (
        [{"id": "a", "title": "Mug", "link": "https://x.example/a", "content": "Two words and more"}],
        [],
    )


def test_a_plain_file_finds_its_records(tmp_path: Path) -> None:
    text = """<?xml version="1.0"?>
<shop><name>Mine</name><created>today</created>
 <products>
  <product id="7" lang="de"><title>Mug</title><images><image>a.jpg</image><image url="b.jpg"/></images>
   <variant><sku>1</sku></variant><variant><sku>2</sku></variant></product>
  <product id="8"><id>own</id><title>Cup</title><images><image>c.jpg</image></images></product>
 </products>
</shop>"""
    path = write(tmp_path, text, "shop.xml")
    cells, _ = rows(path)
    assert cells == [
        {"id": "7", "lang": "de", "title": "Mug", "images": '["a.jpg", "b.jpg"]', "variant": '[["1"], ["2"]]'}
        | {"variant": '["[\\"1\\"]", "[\\"2\\"]"]'},
        {"id": "own", "title": "Cup", "images": '["c.jpg"]'},
    ]
    reader, products, _ = read(path)
    assert products[0].image_refs == ("a.jpg", "b.jpg")
    assert "'shop/products/product'" in reader.notes[0]
    assert [r["sku"] for r in rows(path, records="variant")[0]] == ["1", "2"]
    assert "no element 'offer'" in refusal(path, records="offer")


def test_records_that_are_attributes(tmp_path: Path) -> None:
    text = '<list><p id="1" title="Mug"/><p id="2" title="Cup"/></list>'
    assert [p.title for p in read(write(tmp_path, text, "x.xml"))[1]] == ["Mug", "Cup"]


def test_a_single_product_is_found(tmp_path: Path) -> None:
    text = "<products><product><sku>1</sku><name>Mug</name></product></products>"
    assert [p.title for p in read(write(tmp_path, text, "x.xml"))[1]] == ["Mug"]


def test_several_kinds_of_records_are_named(tmp_path: Path) -> None:
    one = "<{0}><sku>1</sku><name>x</name></{0}>"
    text = f"<s>{one.format('mug') * 2}{one.format('cup') * 2}</s>"
    message = refusal(write(tmp_path, text, "x.xml"))
    assert "`records`" in message
    assert "s/mug, s/cup" in message
    assert [p.title for p in read(write(tmp_path, text.replace("<sku>1", "<sku>2", 1), "x.xml"), records="mug")[1]] == [
        "x",
        "x",
    ]


def test_what_feeds_do_and_xml_forbids(tmp_path: Path) -> None:
    """Unbound prefixes, HTML's entities, control characters: none of them ends the reading."""
    text = rss(item("a", "Caf&eacute;&nbsp;Mug"), item("b", "bell \x07"), item("c", "&unknown; &#228;"), ns="")
    _, products, rejects = read(write(tmp_path, text, "feed.xml"))
    assert [(p.product_key, p.title) for p in products] == [("a", "Café Mug"), ("c", "&unknown; ä")]
    assert [(r.record, r.line, r.code) for r in rejects] == [(2, 3, Code.BAD_TEXT)]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (item("b", "Salt & Pepper"), "not well-formed"),
        ("<item><g:id>b</g:id><title>Mug</item>", "mismatched tag"),
        ("<item><g:id>b</g:id><title>1 < 2</title></item>", "not well-formed"),
        ('<item><g:id a="1" a="2">b</g:id></item>', "duplicate attribute"),
    ],
)
def test_broken_feeds_are_read_up_to_the_fault(tmp_path: Path, broken: str, reason: str) -> None:
    text = rss(item("a"), item("a2"), broken, item("c"))
    _, products, rejects = read(write(tmp_path, text, "feed.xml"))
    assert [p.product_key for p in products] == ["a", "a2"]
    assert [(r.record, r.line, r.code) for r in rejects] == [(3, 4, Code.BAD_XML)]
    assert reason in rejects[0].message
    assert "line 4" in rejects[0].message
    assert "rest of the file was not read" in rejects[0].message


def test_a_feed_that_is_cut_off(tmp_path: Path) -> None:
    whole = rss(item("a"), item("b"))
    for cut in range(whole.index("</item>") + 7, len(whole) - 1):
        _, products, rejects = read(write(tmp_path, whole[:cut], "feed.xml"))
        assert [r.code for r in rejects] == [Code.BAD_XML], cut
        assert [p.product_key for p in products] == ["a", "b"][: whole[:cut].count("</item>")]


BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "doctype",
    [
        BOMB,
        '<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE x PUBLIC "a" "http://127.0.0.1:9/x.dtd">',
        "<!DOCTYPE rss>",
        '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;]>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused(tmp_path: Path, doctype: str, encoding: str) -> None:
    text = f'<?xml version="1.0"?>\n{doctype}\n{rss(item("a", "&b;"))}'
    assert "a DTD is refused" in refusal(write(tmp_path, text.encode(encoding), "feed.xml"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN" "x"><html/>', "web page"),
        ('<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><body/></html>', "web page"),
        ('<?xml version="1.0"?><Workbook><Worksheet/></Workbook>', "save it as .xlsx"),
        ('<?xml version="1.0"?><rss/>', "looks like a product"),
        ('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "looks like a product"),
        ("<a" + ">" * 3 + "<a>" * 200, "looks like a product"),
        ("<?xml", "cannot be read as such"),
        (rss(item("a")).replace("g:id", "g:x"), "product's key"),
    ],
)
def test_xml_that_is_no_feed(tmp_path: Path, text: str, says: str) -> None:
    assert says in refusal(write(tmp_path, text, "feed.xml"))


@pytest.mark.parametrize("encoding", ["windows-1252", "iso-8859-15", "utf-16", "gb18030", "shift_jis", "utf-8"])
def test_encodings_by_declaration(tmp_path: Path, encoding: str) -> None:
    title = "商品" if encoding in ("gb18030", "shift_jis") else "Gefäß € x" if encoding != "iso-8859-15" else "Gefäß €"
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n' + rss(item("a", title))
    assert read(write(tmp_path, text.encode(encoding), "feed.xml"))[1][0].title == title


def test_a_declaration_that_is_not_true(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="utf-8"?>' + rss(item("a", "Gefäß"))
    reader, products, _ = read(write(tmp_path, text.encode("cp1252"), "feed.xml"))
    assert products[0].title == "Gefäß"
    assert "cp1252" in reader.notes[0]
    said16 = text.replace("utf-8", "utf-16").encode()
    assert read(write(tmp_path, said16, "feed.xml"))[1][0].title == "Gefäß"
    unknown = text.replace("utf-8", "klingon").encode()
    assert "'klingon' is not an encoding" in refusal(write(tmp_path, unknown, "feed.xml"))


def test_records_that_are_too_large_or_too_deep(tmp_path: Path) -> None:
    wide = "<g:x/>" * 140_000
    deep = "<d>" * 120 + "</d>" * 120
    path = write(tmp_path, rss(item("a"), item("b", more=wide), item("c"), item("d", more=deep), item("e")), "f.xml")
    _, products, rejects = read(path)
    assert [p.product_key for p in products] == ["a", "c"]
    assert [(r.line, r.code) for r in rejects] == [(3, Code.BAD_FIELD), (5, Code.BAD_XML)]


def test_memory_holds_a_record_and_not_the_feed(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    with path.open("w") as file:
        file.write(f"<rss {NS}><channel>\n")
        file.writelines(item(str(number), "x", f"<description>{'y' * 400}</description>") for number in range(20_000))
        file.write("</channel></rss>")
    tracemalloc.start()
    try:
        table = open_table(local_file(path), CatalogOptions())
        count = sum(1 for _ in table.records())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert path.stat().st_size > 8_000_000
    assert peak < 5_000_000, f"{peak:,} bytes"


LIGHT = settings(max_examples=150, deadline=None)
PIECES = st.sampled_from(
    [item("a"), item("b", "x & y"), "<item>", "</item>", "<g:id>c</g:id>", "<title>", "</title>", "<x a='1'/>", "&",
     "<", "&nbsp;", "]]>", "<![CDATA[", "<!--", "-->", "<?pi?>", "\x00", "\ufdd0", "ü", "\n", "<!DOCTYPE a>", BOMB,
     "<entry>"]
)  # fmt: skip


@LIGHT
@given(st.lists(PIECES, max_size=15), st.sampled_from(["<rss><channel>" + item("z"), "<feed>", "<s>", "<?xml ", ""]))
def test_any_pieces(pieces: list[str], start: str) -> None:
    survive((start + "".join(pieces)).encode())


@LIGHT
@given(st.binary(max_size=60), st.integers(0, 200))
def test_any_bytes_anywhere(noise: bytes, at: int) -> None:
    feed = rss(item("a"), item("b")).encode()
    survive(feed[:at] + noise + feed[at:])


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)


@LIGHT
@given(st.lists(st.lists(st.tuples(st.sampled_from(["g:id", "title", "g:x", "y"]), TEXT), min_size=1, max_size=4)))
def test_feeds_come_back_as_written(records: list[list[tuple[str, str]]]) -> None:
    if not records:
        return
    text = rss(*("<item>" + "".join(f"<{n}>{escape(t)}</{n}>" for n, t in record) + "</item>" for record in records))
    with tempfile.TemporaryDirectory() as folder:
        cells, faults = rows(write(Path(folder), text))
    wanted = []
    for record in records:
        values: dict[str, list[str]] = {}
        for name, value in record:
            values.setdefault(name.removeprefix("g:"), []).append(value)
        wanted.append({n: v[0] if len(v) == 1 else json.dumps(v, ensure_ascii=False) for n, v in values.items()})
    assert (cells, faults) == (wanted, [])


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"samples are not at {SAMPLES}; set PACKSHOT_SAMPLES to their folder")
def test_a_real_feed() -> None:
    path = SAMPLES / "catalogs" / "google_merchant_feed.xml"
    # By regular expression: 20 items, each with an id of its own and one photo, on lines 3 to 22.
    ids = re.findall("<g:id>([^<]*)</g:id>", path.read_text())
    photos = re.findall("<g:image_link>([^<]*)</g:image_link>", path.read_text())
    reader, products, rejects = read(path)
    assert (len(ids), len(set(ids)), rejects) == (20, 20, [])
    assert [p.product_key for p in products] == ids
    assert [p.image_refs[0] for p in products] == photos
    assert [p.line for p in products] == list(range(3, 23))
    assert reader.kind == "XML feed"
