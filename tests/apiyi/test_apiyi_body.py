from __future__ import annotations

import base64
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packshot.apiyi.body import Blob, CutJson, NotJson, read_body, write_decoded

on_disk = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)

scalars = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(max_size=30)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=25,
)


def resolve(value: Any) -> Any:
    """A parsed body with its blobs read back the way json.loads would have read them."""
    if isinstance(value, Blob):
        return json.loads(b'"' + b"".join(value.steps(7)) + b'"')
    if isinstance(value, list):
        return [resolve(item) for item in value]
    return {key: resolve(item) for key, item in value.items()} if isinstance(value, dict) else value


def parsed(tmp_path: Path, raw: bytes, blob_bytes: int = 64) -> Any:
    file = tmp_path / "answer.body"
    file.write_bytes(raw)
    return read_body(file, blob_bytes)


@on_disk
@given(document=documents, ascii_only=st.booleans(), indent=st.none() | st.just(2), blob_bytes=st.integers(0, 12))
def test_reads_what_json_reads(
    tmp_path: Path, document: Any, ascii_only: bool, indent: int | None, blob_bytes: int
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raw = json.dumps(document).encode()
    assert resolve(parsed(tmp_path, raw, blob_bytes)) == json.loads(raw)


LONG = "A" * 3_000_000


@pytest.mark.parametrize(
    "text",
    [
        LONG[:end] + special + LONG[end:]
        for special in ["", '"', "\\", '\\"', '\\\\""', "/\n/"]
        for end in [0, 1, 999, 1000, 1001, 1 << 20, (1 << 20) + 999, (1 << 20) + 1000, len(LONG)]
    ],
    ids=str.__len__,
)
def test_quotes_and_escapes_anywhere_in_megabytes(tmp_path: Path, text: str) -> None:
    raw = json.dumps([text, "next", text]).encode()
    answer = parsed(tmp_path, raw)
    assert [type(item) for item in answer] == [Blob, str, Blob]
    for blob in answer[::2]:
        assert json.loads(b'"' + b"".join(blob.steps(1 << 20)) + b'"') == text
    with pytest.raises(CutJson):
        parsed(tmp_path, raw[:-2])


@on_disk
@given(document=st.dictionaries(st.text(max_size=8), documents, min_size=1, max_size=4), data=st.data())
def test_every_beginning_of_an_answer_is_recognized_as_cut(tmp_path: Path, document: Any, data: st.DataObject) -> None:
    raw = json.dumps(document).encode()
    end = data.draw(st.integers(1, len(raw) - 1))
    with pytest.raises(CutJson):
        parsed(tmp_path, raw[:end], 4)


def test_long_strings_stay_in_the_file_and_keys_do_not(tmp_path: Path) -> None:
    long = "x" * 64
    answer = parsed(tmp_path, json.dumps({long: [long, "short", long[:-1]]}).encode())
    assert list(answer) == [long]
    blob, short, just_below = answer[long]
    assert isinstance(blob, Blob)
    assert (blob.end - blob.start, str(blob)) == (64, "<64 bytes>")
    assert (short, just_below) == ("short", long[:-1])


@pytest.mark.parametrize("raw", [b"", b" \r\n\t ", b"\xef\xbb\xbf"])
def test_nothing_but_blanks_is_nothing(tmp_path: Path, raw: bytes) -> None:
    assert parsed(tmp_path, raw) is None


@pytest.mark.parametrize(
    "raw",
    [b"<!DOCTYPE html><p class='x'>", b'<a href="x', b"Bad Gateway", b"[" * 100_000, b"\x1f\x8b\x08\x00\xff", b'"open'],
)
def test_what_is_no_json_is_not_called_cut(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(NotJson) as caught:
        parsed(tmp_path, raw)
    assert not isinstance(caught.value, CutJson)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":"b\\',
        b'{"a":"b\\"',
        b'  \n[{"a":1}',
        b'\xef\xbb\xbf{"a"',
        b'{"data":"' + b"A" * 500,
        b'{"a":"' + b'\\"' * 200_000,
    ],
)
def test_answers_that_were_cut(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(CutJson):
        parsed(tmp_path, raw)


def test_bytes_that_are_no_utf8_do_not_cost_the_image(tmp_path: Path) -> None:
    answer = parsed(tmp_path, b'\xef\xbb\xbf\n{"text":"caf\xe9 \x01","data":"' + b"A" * 64 + b'"}')
    assert answer["text"] == "caf� \x01"
    assert isinstance(answer["data"], Blob)


def test_too_much_beside_the_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotJson):
        parsed(tmp_path, b"[" + b'"short",' * 1_000_000 + b'"end"]')


def escape(text: str, draw: st.DataObject) -> str:
    """Any of the ways JSON can write the same ASCII text."""
    ways = [lambda c: c, lambda c: f"\\u{ord(c):04x}", lambda c: f"\\u{ord(c):04X}", lambda c: "\\/" if c == "/" else c]
    return "".join(draw.draw(st.sampled_from(ways))(c) for c in text)


@on_disk
@given(
    image=st.binary(min_size=1, max_size=200),
    prefix=st.sampled_from(["", "data:image/png;base64,", " data:image/jpeg;base64,"]),
    url_safe=st.booleans(), padded=st.booleans(), width=st.sampled_from([0, 4, 61, 76]),
    as_blob=st.booleans(), step=st.integers(1, 40), draw=st.data(),
)  # fmt: skip
def test_decodes_base64_however_it_is_written_and_wherever_it_is_divided(
    tmp_path: Path, image: bytes, prefix: str, url_safe: bool, padded: bool, width: int, as_blob: bool, step: int,
    draw: st.DataObject,
) -> None:  # fmt: skip
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(image).decode()
    text = text if padded else text.rstrip("=")
    lines = [text[i : i + width] for i in range(0, len(text), width)] if width else [text]
    raw = (
        f'{{"data":"{escape(prefix + "".join(lines), draw)}"}}'
        if not width
        else json.dumps({"data": prefix + "\r\n".join(lines)})
    )
    value = parsed(tmp_path, raw.encode(), 0 if as_blob else 10_000)["data"]
    assert isinstance(value, Blob) is as_blob
    to = tmp_path / "answer.img"
    head = write_decoded(value, to, step)
    assert to.read_bytes() == image
    assert image.startswith(head)
    assert head


@pytest.mark.parametrize(
    "text", ["!!!!", "AAA=AAAA", "A", "AAAAA", "AAAA====AAAA", "\\\\AAA", "é" * 4, "https://x.example/a.png"]
)
@pytest.mark.parametrize("as_blob", [True, False])
def test_what_is_no_base64_is_refused(tmp_path: Path, text: str, as_blob: bool) -> None:
    value = parsed(tmp_path, f'{{"data":"{text}"}}'.encode(), 0 if as_blob else 10_000)["data"]
    with pytest.raises(ValueError):
        write_decoded(value, tmp_path / "answer.img", 3)


def test_a_40_mb_answer_takes_little_memory(tmp_path: Path) -> None:
    image = bytes(range(256)) * (30 * 4096)
    file = tmp_path / "answer.body"
    encoded = base64.b64encode(image)
    file.write_bytes(b'{"candidates":[{"content":{"parts":[{"inlineData":{"data":"' + encoded + b'"}}]}}]}')
    assert file.stat().st_size > 40_000_000
    del encoded
    tracemalloc.start()
    try:
        answer = read_body(file)
        write_decoded(answer["candidates"][0]["content"]["parts"][0]["inlineData"]["data"], tmp_path / "answer.img")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "answer.img").read_bytes() == image
    assert peak < 12_000_000
