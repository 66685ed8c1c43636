"""Generic CSV: dialects, encodings, damaged records, columns."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from packshot.catalog import CatalogOptions, draft, open_catalog
from packshot.catalog.tables import text as records
from packshot.errors import Code
from tests.catalog.catalog_files import read, read_all, write

HEADER = "sku,title,description"


def codes(tmp_path: Path, content: str | bytes, **options: object) -> list[tuple[int, int, Code]]:
    return [(r.record, r.line, r.code) for r in read(write(tmp_path, content), **options)[2]]


# --- dialects ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    text = "sku,title,color\n1,Mug,red\n2,Cup,blue\n".replace(",", delimiter)
    reader, products, rejects = read(write(tmp_path, text))
    assert (reader.delimiter, reader.format, rejects) == (delimiter, "csv", [])
    assert [(p.product_key, p.title, p.attributes) for p in products] == [
        ("1", "Mug", {"color": "red"}),
        ("2", "Cup", {"color": "blue"}),
    ]


def test_commas_inside_a_semicolon_header_do_not_fool(tmp_path: Path) -> None:
    text = "sku;title;Image URLs (x,y,z...);Tags (x,y,z...)\n1;Mug;a.jpg,b.jpg;x\n2;Cup;;\n"
    reader, products, _ = read(write(tmp_path, text))
    assert reader.delimiter == ";"
    assert products[0].image_refs == ("a.jpg", "b.jpg")


@pytest.mark.parametrize(
    "column", ["Image URL", "image url", "Image URLs", "image-url", "IMAGE_LINK", "Main image URL", "Images", "Picture"]
)
def test_photos_are_found_by_what_people_call_them(tmp_path: Path, column: str) -> None:
    _, products, _ = read(write(tmp_path, f"sku,title,{column}\n1,Mug,https://shop.example/1.jpg\n"))
    assert products[0].image_refs == ("https://shop.example/1.jpg",)


def test_commas_in_descriptions_of_a_tab_file_do_not_fool(tmp_path: Path) -> None:
    text = "sku\ttitle\tdescription\n1\tMug\ta, b, c, d\n2\tCup\te, f, g, h\n"
    assert read(write(tmp_path, text))[0].delimiter == "\t"


def test_separator_line_of_spreadsheets(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, "sep=;\r\nsku;title\r\n1;Mug, blue\r\n"))
    assert (reader.delimiter, [p.title for p in products], rejects) == (";", ["Mug, blue"], [])


def test_named_delimiter_wins(tmp_path: Path) -> None:
    path = write(tmp_path, "sku~title\n1~Mug, blue\n")
    assert read(path, delimiter="~")[1][0].title == "Mug, blue"
    assert read(write(tmp_path, "sku\ttitle\n1\tMug\n"), delimiter="\\t")[1][0].title == "Mug"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path: Path, end: str) -> None:
    reader, products, rejects = read(write(tmp_path, f'{HEADER}{end}1,Mug,"two{end}lines"{end}2,Cup,x'))
    assert [(p.product_key, p.description, p.line) for p in products] == [("1", "two lines", 2), ("2", "x", 4)]
    assert rejects == []
    assert reader.counts.records == 2


def test_padded_cells_and_blanks_before_quotes(tmp_path: Path) -> None:
    text = 'sku  , title          , description\n 1   , "Mug, blue"    , "said ""hi"""   \n'
    product = read(write(tmp_path, text))[1][0]
    assert (product.sku, product.title, product.description) == ("1", "Mug, blue", 'said "hi"')


# --- encodings --------------------------------------------------------------------------------------------------

TEXT = "sku,title\nnhẫn-1,Nhẫn bạc\n2,Größe 5 €\n"


@pytest.mark.parametrize(
    ("content", "name", "noted"),
    [
        (TEXT.encode(), "utf-8", False),
        (codecs.BOM_UTF8 + TEXT.encode(), "utf-8-sig", False),
        (TEXT.encode("utf-16"), "utf-16", False),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16", False),
        (TEXT.encode("utf-32"), "utf-32", False),
        (TEXT.encode("utf-16-le"), "utf-16-le", True),
        (TEXT.encode("utf-16-be"), "utf-16-be", True),
    ],
)
def test_encodings_that_can_be_known(tmp_path: Path, content: bytes, name: str, noted: bool) -> None:
    reader, products, rejects = read(write(tmp_path, content))
    assert (reader.encoding, bool(reader.notes), rejects) == (name, noted, [])
    assert [(p.product_key, p.title) for p in products] == [("nhẫn-1", "Nhẫn bạc"), ("2", "Größe 5 €")]


def test_one_byte_text_is_guessed_and_the_guess_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "sku;title\n1;Größe “5” €\n".encode("cp1252"))
    reader, products, _ = read(path)
    assert reader.encoding == "cp1252"
    assert "guess" in reader.notes[0]
    assert products[0].title == "Größe “5” €"
    reader, _, _ = read(path, encoding="cp1252")
    assert reader.notes == []


def test_declared_code_page(tmp_path: Path) -> None:
    path = write(tmp_path, "sku,title\n1,茶杯\n".encode("gb18030"))
    assert read(path, encoding="gb18030")[1][0].title == "茶杯"


def test_a_damaged_record_does_not_turn_utf8_into_a_guess(tmp_path: Path) -> None:
    content = TEXT.encode() + b"3,bad \xff\xfe byte\n4,Tasse gr\xc3\xbcn\n"
    reader, products, rejects = read(write(tmp_path, content))
    assert reader.encoding == "utf-8"
    assert "damaged" in reader.notes[0]
    assert [p.title for p in products] == ["Nhẫn bạc", "Größe 5 €", "Tasse grün"]
    assert [(r.record, r.line, r.code) for r in rejects] == [(3, 4, Code.BAD_TEXT)]


# --- damaged records --------------------------------------------------------------------------------------------


def test_short_and_long_records(tmp_path: Path) -> None:
    text = f"{HEADER}\n1,Mug,x\n2,Cup\n3,Jug,a,b\n4,Pot,y\n"
    assert codes(tmp_path, text) == [(2, 3, Code.BAD_WIDTH), (3, 4, Code.BAD_WIDTH)]


def test_quote_open_at_the_end(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, f'{HEADER}\n1,Mug,x\n2,Cup,"cut off\nhere'))
    assert [p.product_key for p in products] == ["1"]
    assert [(r.record, r.line, r.code) for r in rejects] == [(2, 3, Code.OPEN_QUOTE)]
    assert reader.counts.records == 2


def test_a_quote_that_closes_at_the_very_end_is_fine(tmp_path: Path) -> None:
    assert codes(tmp_path, f'{HEADER}\n1,Mug,"closed"') == []


def test_nul(tmp_path: Path) -> None:
    assert codes(tmp_path, f"{HEADER}\n1,Mug,x\n2,C\x00up,x\n3,Jug,x\n") == [(2, 3, Code.BAD_TEXT)]


def test_blank_rows_are_counted_not_rejected(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, f"\n\n{HEADER}\n1,Mug,x\n\n , ,\n,,,,,\n2,Cup,x\n,,\n,,\n"))
    assert (len(products), rejects) == (2, [])
    assert (reader.counts.records, reader.counts.blank) == (7, 5)


def test_a_huge_cell_is_one_reject(tmp_path: Path) -> None:
    huge = "x" * (records.CELL_MAX + 1)
    assert codes(tmp_path, f"{HEADER}\n1,Mug,{huge}\n2,Cup,x\n") == [(1, 2, Code.BAD_FIELD)]


def test_a_large_cell_is_read_and_shortened(tmp_path: Path) -> None:
    reader, products, rejects = read(write(tmp_path, f"{HEADER}\n1,Mug,{'word ' * 60_000}\n"))
    assert rejects == []
    assert 3990 < len(products[0].description) <= 4000
    assert "description shortened" in reader.notes[0]


def test_an_endless_line_is_one_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LINE_MAX", 100)
    text = f"{HEADER}\n1,Mug,{'x' * 500}\n2,Cup,x\n"
    assert codes(tmp_path, text) == [(1, 2, Code.BAD_FIELD)]


def test_a_cell_left_open_in_the_middle_does_not_lose_the_rest(tmp_path: Path) -> None:
    rows = "".join(f"{n},Title {n},{'word ' * 40}\n" for n in range(8000))
    _, products, rejects = read(write(tmp_path, f'{HEADER}\n0x,"never closed,x\n{rows}'))
    assert [r.code for r in rejects] == [Code.BAD_FIELD]
    assert products[-1].product_key == "7999"


# --- fields -----------------------------------------------------------------------------------------------------


def test_key_and_title_checks(tmp_path: Path) -> None:
    text = f"{HEADER}\n,Mug,x\n2,<p>&nbsp;</p>,x\n3,Jug,x\n3,Jug again,x\n{'k' * 256},Pot,x\n{'k' * 255},Pot,x\n"
    _, products, rejects = read(write(tmp_path, text))
    assert [(r.record, r.key, r.code) for r in rejects] == [
        (1, None, Code.MISSING_KEY),
        (2, "2", Code.MISSING_TITLE),
        (4, "3", Code.DUPLICATE_KEY),
        (5, "k" * 255, Code.BAD_FIELD),
    ]
    assert "line 4" in rejects[2].message
    assert len(products) == 2


def test_status_outside_the_accepted_ones_is_a_reject(tmp_path: Path) -> None:
    path = write(tmp_path, "sku,title,Status\n1,Mug,active\n2,Cup,Draft\n3,Jug,\n4,Pot,ACTIVE\n")
    _, products, rejects = read(path)
    assert [p.product_key for p in products] == ["1", "3", "4"]
    assert [(r.key, r.code) for r in rejects] == [("2", Code.NOT_SELECTED)]
    assert [p.product_key for p in read(path, statuses=["draft"])[1]] == ["2"]


def test_leading_zeros_and_numbers_stay_text(tmp_path: Path) -> None:
    assert [p.sku for p in read(write(tmp_path, "sku,title\n001,Mug\n1e5,Cup\n1.0,Jug\n"))[1]] == ["001", "1e5", "1.0"]


def test_image_references(tmp_path: Path) -> None:
    cell = "photos/a.jpg, ../secret.jpg, /etc/passwd, C:\\b.jpg, data:image/png;base64;x, photos/a.jpg, b.jpg"
    text = (
        f'sku,title,image\n1,Mug,"{cell}"\n2,Cup,https://u:secret@x.example/a.jpg\n3,Jug,"[""c.jpg"", ""d,e.jpg""]"\n'
    )
    reader, products, _ = read(write(tmp_path, text))
    assert [p.image_refs for p in products] == [("photos/a.jpg", "b.jpg"), (), ("c.jpg", "d,e.jpg")]
    notes = "\n".join(reader.notes)
    assert "leads out of the catalog's folder" in notes
    assert "1 x image reference left out (a path from a root that media_root does not name)" in notes
    assert "secret" not in notes


def test_commas_inside_urls_are_not_separators(tmp_path: Path) -> None:
    first, second = "https://img.example/w_400,h_400/a.jpg", "https://img.example/b.jpg?v=1"
    text = f'sku,title,image\n1,Mug,"{first}, {second}"\n'
    assert read(write(tmp_path, text))[1][0].image_refs == (first, second)


def test_image_separator(tmp_path: Path) -> None:
    path = write(tmp_path, 'sku,title,image\n1,Mug,"a.jpg|b, c.jpg"\n')
    assert read(path, split={"image_refs": "|"})[1][0].image_refs == ("a.jpg", "b, c.jpg")
    assert read(path, split={"image_refs": ""})[1][0].image_refs == ("a.jpg|b, c.jpg",)


# --- columns and variants ---------------------------------------------------------------------------------------


def test_mapping_first_filled_column_and_attributes(tmp_path: Path) -> None:
    text = "Nr,Kurz,Lang,Farbe,Bild1,Bild2\n1,Becher,,rot,a.jpg,b.jpg\n2,Tasse,Tasse mit Henkel,,,c.jpg\n"
    reader, products, _ = read(
        write(tmp_path, text),
        mapping={
            "product_key": "Nr",
            "title": ["Lang", "Kurz"],
            "attributes.color": "Farbe",
            "image_refs": ["Bild1", "Bild2"],
        },
    )
    assert [(p.title, p.attributes, p.image_refs) for p in products] == [
        ("Becher", {"color": "rot"}, ("a.jpg", "b.jpg")),
        ("Tasse mit Henkel", {}, ("c.jpg",)),
    ]
    assert reader.mapping_used["title"] == ["Lang", "Kurz"]


def test_an_empty_mapping_switches_a_target_off(tmp_path: Path) -> None:
    path = write(tmp_path, "sku,title,description\n1,Mug,internal notes\n")
    assert read(path)[1][0].description == "internal notes"
    assert read(path, mapping={"description": []})[1][0].description == ""


def test_localised_columns_keep_to_one_language(tmp_path: Path) -> None:
    text = "sku,name-de_DE,name-en_US,description-en_US,description-de_DE\n1,Becher,Mug,A mug,Ein Becher\n"
    product = read(write(tmp_path, text))[1][0]
    assert product.title == "Becher"


FEED = (
    "id,item_group_id,title,color,size\n"
    "t-w-s,tee,Tee white,White,S\n"
    "t-w-m,tee,Tee white,White,M\n"
    "cap,,Cap,Black,\n"
    "t-b-s,tee,Tee black,Black,S\n"
    "t-b-s,tee,Tee black,Black,S\n"
)


@pytest.mark.parametrize(
    ("variants_by", "names", "continued"),
    [
        ([], ["tee", "cap"], 2),
        (["Color"], ["tee/White", "cap/Black", "tee/Black"], 1),
        (["color", "SIZE"], ["tee/White / S", "tee/White / M", "cap/Black", "tee/Black / S"], 0),
        (["*"], ["tee/t-w-s", "tee/t-w-m", "cap", "tee/t-b-s"], 0),
    ],
)
def test_variants_of_a_feed(tmp_path: Path, variants_by: list[str], names: list[str], continued: int) -> None:
    reader, products, rejects = read(write(tmp_path, FEED), variants_by=variants_by)
    assert [p.name for p in products] == names
    assert reader.counts.continuation == continued
    assert [(r.record, r.code) for r in rejects] == [(5, Code.DUPLICATE_KEY)]


def test_variants_take_what_only_the_first_record_states(tmp_path: Path) -> None:
    text = "baseId,sku,title,color,image\na,a1,Mug,red,m.jpg\na,a2,,blue,\nb,b1,,red,\n"
    _, products, rejects = read(write(tmp_path, text), variants_by=["*"])
    assert [(p.name, p.title, p.attributes["color"], p.image_refs) for p in products] == [
        ("a/a1", "Mug", "red", ("m.jpg",)),
        ("a/a2", "Mug", "blue", ("m.jpg",)),
    ]
    assert [(r.key, r.code) for r in rejects] == [("b", Code.MISSING_TITLE)]


def test_attribute_pairs_of_shop_exports(tmp_path: Path) -> None:
    text = (
        "SKU,Type,Name,Categories,Attribute 1 name,Attribute 1 value(s),Attribute 2 name,Attribute 2 value(s)\n"
        "1,variable,Tee,Clothing > Tees,Color,Blue,Ring Size,7\n"
    )
    product = read(write(tmp_path, text))[1][0]
    assert product.attributes == {"color": "Blue", "ring_size": "7"}
    assert product.category == "Clothing > Tees"


# --- the reader -------------------------------------------------------------------------------------------------


def test_reading_twice_gives_the_same_and_counts_anew(tmp_path: Path) -> None:
    reader = open_catalog(write(tmp_path, f"{HEADER}\n1,Mug,x\n1,Mug,x\n\n"))
    assert reader.counts.records == 0
    first = read_all(reader)
    assert read_all(reader) == first
    assert reader.counts.records == 3


def test_names(tmp_path: Path) -> None:
    path = write(tmp_path, "sku,title\n1,Mug\n", "Frühjahr 2026 (final).csv")
    assert open_catalog(path).name == "fruhjahr-2026-final"
    assert open_catalog(path, CatalogOptions(name="spring")).name == "spring"
    assert open_catalog(write(tmp_path, "sku,title\n1,Mug\n", "目录.csv")).name == "catalog"
    assert read(path)[1][0].catalog == "fruhjahr-2026-final"


@pytest.mark.parametrize("block", [3, 5, 17])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_where_a_block_ends_makes_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, block: int
) -> None:
    text = end.join(['a,"b,c"', f'"two{end}lines",d', "", "x,ü", '"q""q",1', ""])
    path = write(tmp_path, text.encode())
    table = open_catalog(path, CatalogOptions(mapping={"product_key": "a", "title": "b,c"})).parts[0].table
    whole = list(table.records())
    monkeypatch.setattr(records, "_BLOCK", block)
    assert list(table.records()) == whole
    assert [(record.number, record.line, record.cells) for record in whole] == [
        (1, 2, (f"two{end}lines", "d")), (2, 4, ()), (3, 5, ("x", "ü")), (4, 6, ('q"q', "1")),
    ]  # fmt: skip


@pytest.mark.parametrize("remembered", [0, 1, 2, 1000])
def test_attributes_are_clean_whatever_is_remembered_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    monkeypatch.setattr(draft, "_REMEMBERED", remembered)
    colours = ["red", "", "<b>red</b>", "sea &amp; sand", "red", "", "&nbsp;", "sky", "sea &amp; sand", "", "red"]
    rows = "".join(f"{number},Mug,Colour,{colour}\n" for number, colour in enumerate(colours, start=1))
    _, products, _ = read(write(tmp_path, f"sku,title,Attribute 1 name,Attribute 1 value(s)\n{rows}"))
    clean = ["red", "", "red", "sea & sand", "red", "", "", "sky", "sea & sand", "", "red"]
    assert [dict(product.attributes) for product in products] == [
        {"colour": colour} if colour else {} for colour in clean
    ]
