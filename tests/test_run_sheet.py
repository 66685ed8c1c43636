"""The contact sheet of a run: read back from a real store, kept here and there, and never at the price of the run."""

from __future__ import annotations

import hashlib
import io
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from packshot import run_sheet as module
from packshot.contact_sheet import SheetItem
from packshot.db.tables import Run
from packshot.errors import ArchiveError, Code
from packshot.report import Report
from packshot.run_sheet import run_sheet, save_contact_sheet, sheet_key
from packshot.sandbox.ports import free_ports
from packshot.settings import Settings
from packshot.storage import ObjectStore
from tests.fixtures_store import hashes, picture

SHA = hashlib.sha256(b"sheet").hexdigest()


def stored(store: ObjectStore, tmp_path: Path, number: int, **values: Any) -> list[dict[str, Any]]:
    """Rows of assets whose pictures are in the store."""
    path = tmp_path / "picture.png"
    path.write_bytes(picture(300, 300))
    sha256, md5 = hashes(path.read_bytes())
    rows = []
    for n in range(number):
        row = {
            "product_key": f"p-{n}", "variant_key": "", "title": f"Product {n}", "shot": "front", "variant": 1,
            "key": f"{store.prefix}/spring/p-{n}/front/{sha256[:16]}.png", "width": 300, "height": 300,
        }  # fmt: skip
        store.put_image(str(row["key"]), path, "image/png", sha256, md5, {})
        rows.append(row | values)
    return rows


def report_of(rows: list[dict[str, Any]], pictures: int = 0) -> Report:
    run = Run(id=7, catalog="Spring 2026", source="s.csv", started_at=datetime.now(UTC))
    return Report(run, assets=rows, pictures=pictures or len(rows))


def ink_below(page: Image.Image) -> bool:
    """Is there a foot?"""
    return page.crop((0, page.height - 50, page.width, page.height)).convert("L").getextrema()[0] < 200  # type: ignore[operator]


def test_the_sheet_is_here_and_in_the_bucket_for_everybody(
    store: ObjectStore, store_settings: Settings, tmp_path: Path
) -> None:
    sheet = run_sheet(store_settings, report_of(stored(store, tmp_path, 7)))
    body = sheet.path.read_bytes()
    assert sheet.path == store_settings.home / "contact-sheets/run-7.jpg"
    assert sheet.key == sheet_key(store.prefix, "Spring 2026", 7, hashlib.sha256(body).hexdigest())
    assert sheet.visible
    answer = requests.get(sheet.url, timeout=10)
    assert answer.content == body
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert "immutable" in answer.headers["Cache-Control"]
    with Image.open(io.BytesIO(body)) as page:
        assert page.format == "JPEG"
        assert page.width > 5 * 240  # five columns
        assert not ink_below(page)


def test_drawn_again_it_is_the_same_object(store: ObjectStore, store_settings: Settings, tmp_path: Path) -> None:
    report = report_of(stored(store, tmp_path, 2))
    assert run_sheet(store_settings, report) == run_sheet(store_settings, report)


def test_two_databases_with_one_bucket_do_not_fight_for_a_name(
    store: ObjectStore, store_settings: Settings, tmp_path: Path
) -> None:
    rows = stored(store, tmp_path, 3)
    first, second = (run_sheet(store_settings, report_of(part)) for part in (rows[:1], rows))
    assert first.key != second.key
    assert store.head(first.key)
    assert store.head(second.key)


def test_no_asset_can_have_the_name_of_a_sheet() -> None:
    assert sheet_key("pub", "spring", 7, SHA) == f"pub/spring/contact-sheets/run-7-{SHA[:8]}.jpg"
    assert sheet_key("", "Größe", 7, SHA).split("/")[1:] == ["contact-sheets", f"run-7-{SHA[:8]}.jpg"]


def test_where_the_public_may_not_read_it_is_not_visible(store_settings: Settings, tmp_path: Path) -> None:
    hidden = store_settings.model_copy(update={"s3_prefix": "private/t"})
    sheet = run_sheet(hidden, report_of(stored(ObjectStore(hidden), tmp_path, 1)))
    assert not sheet.visible
    assert sheet.path.exists()


def test_a_public_address_that_leads_nowhere_is_not_visible(
    store: ObjectStore, store_settings: Settings, tmp_path: Path
) -> None:
    rows = stored(store, tmp_path, 1)
    nowhere = f"http://127.0.0.1:{free_ports(1)[0]}"
    lost = store_settings.model_copy(update={"s3_public_base_url": nowhere})
    sheet = run_sheet(lost, report_of(rows))
    assert (sheet.visible, sheet.url) == (False, f"{nowhere}/{sheet.key}")


def test_only_the_first_are_read_and_the_foot_counts_the_others(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    rows = stored(store, tmp_path, 3)
    unread = [rows[0] | {"key": "nothing/here.png"}] * 5
    save_contact_sheet(store, tmp_path / "deep/sheet.jpg", "Title", rows + unread)
    save_contact_sheet(store, tmp_path / "whole.jpg", "Title", rows)
    with Image.open(tmp_path / "deep/sheet.jpg") as cut, Image.open(tmp_path / "whole.jpg") as whole:
        assert cut.height == whole.height + 40
        assert ink_below(cut)
        assert not ink_below(whole)


def test_pictures_that_are_gone_or_broken_spoil_nothing(store: ObjectStore, tmp_path: Path) -> None:
    [good] = stored(store, tmp_path, 1)
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture()[:40])
    sha256, md5 = hashes(broken.read_bytes())
    key = f"{store.prefix}/spring/p-9/front/{sha256[:16]}.png"
    store.put_image(key, broken, "image/png", sha256, md5, {})
    gone = f"{store.prefix}/spring/p-8/front/gone.png"
    save_contact_sheet(store, tmp_path / "sheet.jpg", "", [good, good | {"key": gone}, good | {"key": key}])
    with Image.open(tmp_path / "sheet.jpg") as page:
        assert page.width > 3 * 240
    with pytest.raises(ArchiveError, match="none of 1 pictures"):
        save_contact_sheet(store, tmp_path / "no.jpg", "", [good | {"key": gone}])
    assert not (tmp_path / "no.jpg").exists()


def test_shots_become_columns(store: ObjectStore, tmp_path: Path) -> None:
    front = stored(store, tmp_path, 2)
    scene = [row | {"shot": "scene"} for row in front]
    save_contact_sheet(store, tmp_path / "sheet.jpg", "", front + scene)
    with Image.open(tmp_path / "sheet.jpg") as page:
        assert page.width == 2 * 44 + 230 + 2 * (240 + 20)  # a label and two columns


@pytest.mark.parametrize(
    ("shots", "captions"),
    [(["front"], ["front, 300 x 300"] * 2), (["front", "scene"], ["p-0", "p-1/blue", "p-0", "p-1/blue"])],
)
def test_pictures_are_named_and_a_row_of_several_says_whose_it_is(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shots: list[str], captions: list[str]
) -> None:
    one, other = stored(store, tmp_path, 2)
    rows = [row | {"shot": shot} for shot in shots for row in (one, other | {"variant_key": "blue", "title": ""})]
    drawn: list[SheetItem] = []
    monkeypatch.setattr(module, "write_contact_sheet", lambda items, path, **_: drawn.extend(items))
    save_contact_sheet(store, tmp_path / "sheet.jpg", "", rows)
    assert [item.subtitle for item in drawn] == captions
    assert {item.title for item in drawn} == {"Product 0", "p-1/blue"}


def test_a_store_that_is_away_is_one_error_soon(store: ObjectStore, store_settings: Settings, tmp_path: Path) -> None:
    rows = stored(store, tmp_path, 9)
    away = store_settings.model_copy(update={"s3_endpoint_url": f"http://127.0.0.1:{free_ports(1)[0]}"})
    began = time.monotonic()
    with pytest.raises(ArchiveError) as caught:
        run_sheet(away, report_of(rows))
    assert caught.value.code in (Code.S3_UNREACHABLE, Code.S3_FAILED)
    assert time.monotonic() - began < module.PATIENCE + 3


def test_a_store_that_never_answers_is_left(
    store: ObjectStore, store_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    rows = stored(store, tmp_path, 5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # when it closes, the readers end too
        mute = store_settings.model_copy(update={"s3_endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        began = time.monotonic()
        with pytest.raises(ArchiveError, match=r"within 0\.3 s"):
            run_sheet(mute, report_of(rows))
        assert time.monotonic() - began < 5
    assert not (store_settings.home / "contact-sheets").exists()
