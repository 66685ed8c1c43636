"""Throws broken files at every reader, guided by what code they reach, and holds each reading to the promises.

    python -m tests.catalog.fuzz --seconds 60

With atheris installed (``pip install atheris``; Linux) libFuzzer mutates, otherwise a plain random mutator does. The
seeds are small files of every format, made here. A finding is written to the folder it names, to be made a test of.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pyarrow.parquet

from packshot.catalog import CatalogOptions, open_catalog
from packshot.errors import ConfigError
from tests.catalog.catalog_files import read_all

SEEDS: dict[str, bytes] = {
    "csv": b'sku,title,description,color,price,image\n1,Mug,"<p>A, b</p>",red,9.50,a.jpg\n'
    b"2,Bowl,,blue,EUR 3,b.jpg|c.jpg\n",
    "shopify": b"Handle,Title,Body (HTML),Option1 Name,Option1 Value,Variant SKU,Image Src,Image Position,Status\n"
    b"a,Shirt,<b>x</b>,Color,Red,1,https://i.example/a.jpg,1,active\na,,,,Blue,2,https://i.example/b.jpg,2,\n",
    "woocommerce": b"ID,Type,SKU,Name,Published,Description,Images,Parent,Attribute 1 name,Attribute 1 value(s)\n"
    b'1,variable,A,Hoodie,1,x,https://i.example/a.jpg,,Color,"Red, Blue"\n2,variation,A-1,,1,,,A,Color,Red\n',
    "google": b"id\ttitle\tdescription\tlink\timage_link\tprice\titem_group_id\tcolor\n"
    b"1\tMug\tx\thttps://s.example/1\thttps://i.example/1.jpg\t9.99 USD\tg\tred\n2\tMug\t\t\t\t\tg\tblue\n",
    "meta": b"# a comment\nid,title,description,availability,image_link,price,fb_product_category\n"
    b"1,Mug,x,in stock,https://i.example/1.jpg,9 USD,Home\n",
    "amazon": b"TemplateType=fptcustom\tVersion=1\tsettings=attributeRow=3&dataRow=4\nSKU\tName\tParent\tParentage\n"
    b"item_sku\titem_name\tparent_sku\tparent_child\nP\tShirt\t\tParent\nC\t\tP\tChild\n",
    "bigcommerce": b'"Item Type","Product ID","Product Name","Product Code/SKU","Product Image File - 1"\n'
    b'Product,1,Ring,R,https://i.example/r.jpg\n"  SKU",,"[RT]Size=M",R-M,\n',
    "magento": b"sku,store_view_code,product_type,name,configurable_variations,additional_attributes,base_image\n"
    b'M,,configurable,Hoodie,"sku=M-1,size=S|sku=M-2,size=L",color=Red,/m/h.jpg\nM-1,,simple,Hoodie S,,,\n',
    "akeneo": b"sku;family;parent;categories;enabled;name-en_US;weight;weight-unit\n1;clothing;;men;1;Shirt;800;GRAM\n",
    "commercetools": b"productType,variantId,sku,prices,name.en,images,key\n"
    b"main,1,A,EUR 100,Bag,https://i.example/a.jpg,k\n,2,B,,,,\n",
    "prestashop": b"Product ID;Active (0/1);Name *;Categories (x,y,z...);Reference #;Image URLs (x,y,z...)\n"
    b"1;1;Mug;Home;R;\n",
    "vendure": b"name , slug , description , assets , facets , optionGroups , optionValues , sku , price\n"
    b'Easel , easel , "a, b" , e.jpg , brand:KB , size , Half , E1 , 1\n , , , , , , Full , E2 , 2\n',
    "json": b'{"id": 1, "title": "Mug", "images": ["a.jpg"], "attributes": {"color": "red"}}\n'
    b'{"id": 2, "title": NaN}\n',
    "array": b'[{"id": 1, "title": "Mug"}, {"id": 2, "title": "Bowl", "images": [{"src": "b.jpg"}]}]',
    "xml": b'<?xml version="1.0"?><rss xmlns:g="http://base.google.com/ns/1.0"><channel><item><g:id>1</g:id>'
    b"<title>Mug</title><g:image_link>https://i.example/1.jpg</g:image_link></item></channel></rss>",
}


def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in (["Our list"], [], ["sku", "title", "image"], [1, "Mug", "a.jpg"], ["=1+1", "Bowl", None]):
        sheet.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def parquet() -> bytes:
    table = pyarrow.table({"sku": ["1", "2"], "title": ["Mug", "Bowl"], "images": [["a.jpg"], None]})
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream)
    return stream.getvalue()


SEEDS |= {"workbook": workbook(), "parquet": parquet(), "gzip": gzip.compress(SEEDS["csv"], mtime=0)}
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"variants_by": ["*"]},
    {"variants_by": ["color"], "on_duplicate": "first"},
    {"key_fallback": "title#options", "on_duplicate": "last"},
    {"on_bad_width": "drop_empty_surplus", "where": {"title": ["!x*"]}},
    {"locale": "en", "currency": "EUR", "media_root": "https://m.example/x"},
)


def check(content: bytes, folder: Path) -> None:
    """Read ``content`` as what it is recognised as, in every way of reading."""
    path = folder / "catalog"
    path.write_bytes(content)
    for options in OPTIONS:
        try:
            reader = open_catalog(path, CatalogOptions(**options))
            items = read_all(reader)
        except ConfigError as error:
            str(error).encode()
        else:
            repr(items).encode()
            "".join(reader.notes).encode()


def mutated(chance: random.Random, content: bytes) -> bytes:
    """One to eight small damages: cut, doubled, swapped, overwritten with what readers stumble over."""
    nasty = (
        b'"',
        b"\x00",
        b"\n",
        b"\r",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"<![CDATA[",
        b"&#0;",
        b"]",
        b"{",
        b",,,",
        b"\t",
        b"\\",
        b"\xed\xa0\x80",
    )
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(content) + 1)
        length = chance.randint(0, 12)
        kind = chance.randrange(4)
        if kind == 0:
            content = content[:at] + content[at + length :]
        elif kind == 1:
            content = content[:at] + chance.choice(nasty) + content[at:]
        elif kind == 2:
            content = content[:at] + content[max(0, at - length) : at] + content[at:]
        else:
            content = content[:at] + chance.randbytes(min(length, 4)) + content[at + length :]
    return content


def fuzz_plainly(seconds: float, folder: Path, seed: int) -> int:
    """Inputs tried."""
    chance = random.Random(seed)
    tried, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        content = mutated(chance, chance.choice(list(SEEDS.values())))
        try:
            check(content, folder)
        except BaseException:
            (folder.parent / "finding").write_bytes(content)
            print(f"finding: {folder.parent / 'finding'} (seed {seed}, input {tried})")
            raise
        tried += 1
    return tried


def fuzz_guided(seconds: float, folder: Path) -> None:
    import atheris

    atheris.instrument_all()
    corpus = folder / "corpus"
    corpus.mkdir()
    for name, content in SEEDS.items():
        (corpus / name).write_bytes(content)
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds:.0f}",
        "-max_len=4096",
        f"-artifact_prefix={folder}/",
        str(corpus),
    ]
    atheris.Setup(arguments, lambda content: check(content, folder))
    atheris.Fuzz()  # ends the process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="packshot-fuzz-")) / "work"
    folder.mkdir()
    for name, content in SEEDS.items():
        (folder / "catalog").write_bytes(content)
        assert any(True for _ in open_catalog(folder / "catalog")), f"the seed {name} is not read"
    try:
        import atheris  # noqa: F401
    except ImportError:
        options.plain = True
    if options.plain:
        print(f"{fuzz_plainly(options.seconds, folder, options.seed):,} inputs, no finding")
    else:
        fuzz_guided(options.seconds, folder)


if __name__ == "__main__":
    main()
