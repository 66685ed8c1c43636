"""`packshot shots`: what it shows is what a run sends, it sends nothing itself, and its exit codes can be relied on."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from packshot.cli import main
from tests.fixtures_shop import EXAMPLE, ROOT, Shop

Shots = Callable[..., subprocess.CompletedProcess[str]]
DEFAULT = ROOT / "packshot/shots/default.yaml"
SHOP = ROOT / "examples/shots/shop.yaml"


@pytest.fixture
def shots(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shots:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["packshot", "shots", *map(str, arguments)])
            capfd.readouterr()
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        return subprocess.CompletedProcess([str(a) for a in arguments], code, *capfd.readouterr())

    return run


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings that reach nothing: these commands need neither key nor bucket nor server."""
    for name, value in {
        "HOME": tmp_path / "home",
        "ENV_FILE": "",
        "SHOTS": DEFAULT,
        "APIYI_KEY": "sk-precious",
    }.items():
        monkeypatch.setenv(f"PACKSHOT_{name}", str(value))
    monkeypatch.setenv("PACKSHOT_APIYI_FORMAT", "gemini")
    monkeypatch.setenv("PACKSHOT_BASE_URL", "http://127.0.0.1:9")


def document(done: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


# --- list -------------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("alone")
def test_list_names_shots_archetypes_and_channels(shots: Shots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_SHOTS", str(SHOP))
    told = document(shots("list", "--json"))
    assert [shot["name"] for shot in told["shots"]] == ["packshot", "amazon", "pair", "sparkle", "banner"]
    assert told["shots"][1]["for"] == "archetype footwear or jewellery or homeware"
    archetypes = {row["name"]: row["categories"] for row in told["archetypes"]}
    assert "Bicycles" in archetypes["bicycles"]
    assert "Winter > On your feet" in archetypes["footwear"]
    assert {"amazon_main", "walmart", "zalando_packshot"} <= {row["name"] for row in told["channels"]}
    plain = shots("list").stdout
    assert "amazon    1:1    2K    amazon_main" in plain
    assert "cropped to exactly 1801:2600, scaled to 1801 x 2600" in plain


# --- render -----------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("alone")
def test_render_shows_prompt_archetype_photo_and_request(shots: Shots) -> None:
    done = shots("render", EXAMPLE, "--product", "lavender-soap", "--shot", "packshot")
    assert done.returncode == 0, done.stderr
    for words in (
        "lavender-soap: Meadow Lavender Soap",
        "archetype beauty: its category 'Health & Beauty > Personal Care > Cosmetics > Bath & Body > Bar Soap' holds",
        "--- packshot: 1:1, 2K (2048 x 2048), ",
        "photos sent: photos/lavender-soap.jpg",
        "every word verbatim",
        "<product_facts>\nTitle: Meadow Lavender Soap",
        "POST ",
        ":generateContent",
        '"imageSize": "2K"',
    ):
        assert words in done.stdout
    assert "sk-precious" not in done.stdout + done.stderr


@pytest.mark.usefixtures("alone")
def test_render_takes_a_sku_and_tells_every_shot(shots: Shots, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PACKSHOT_SHOTS", str(SHOP))
    [told] = document(shots("render", EXAMPLE, "--product", "TCV-26", "--json"))
    assert (told["product_key"], told["archetype"]) == ("ceramic-vase", "homeware")
    assert [picture["shot"] for picture in told["pictures"]] == ["packshot", "amazon", "banner"]
    assert told["not_for_it"] == ["pair", "sparkle"]
    amazon = told["pictures"][1]
    assert (amazon["aspect_ratio"], amazon["image_size"], amazon["width"], amazon["template_version"]) == (
        "1:1", "2K", 2048, 2,
    )  # fmt: skip
    assert amazon["channel"].startswith("Amazon, main image: the 2K master")
    assert "#FFFFFF" in amazon["prompt"]
    photo = amazon["request"]["contents"][0]["parts"][1]["inlineData"]
    sent = next((tmp_path / "home/references").glob("*.jpg")).read_bytes()
    assert photo == {
        "mimeType": "image/jpeg",
        "data": f"<photos/ceramic-vase.jpg, {len(sent)} bytes, sha256 {hashlib.sha256(sent).hexdigest()}>",
    }
    assert amazon["request"]["contents"][0]["parts"][0] == {"text": amazon["prompt"]}


def test_what_render_shows_is_what_a_run_sends(shop: Shop, shots: Shots) -> None:
    [told] = document(shots("render", EXAMPLE, "--product", "canvas-backpack", "--json"))
    assert shop.emulator.calls == 0
    report = shop.run(EXAMPLE, products=["canvas-backpack"])
    assert report.run.archived == len(told["pictures"]) == shop.emulator.calls
    with shop.engine.connect() as connection:
        from sqlalchemy import text

        rows = connection.execute(
            text("SELECT key, shot, prompt, template_hash, template_version FROM image_job ORDER BY id")
        ).all()
    shown = [
        tuple(p[k] for k in ("key", "shot", "prompt", "template_hash", "template_version")) for p in told["pictures"]
    ]
    assert [tuple(row) for row in rows] == shown


@pytest.mark.usefixtures("alone")
def test_render_tells_what_would_not_be_bought(shots: Shots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.csv").write_text("id,title,image\n1,Mug,gone.jpg\n2,Cup,\n")
    [told] = document(shots("render", tmp_path / "shop.csv", "--product", "1", "--shot", "detail", "--json"), 1)
    assert told["pictures"][0]["held"] == "photo not readable: gone.jpg"
    assert "would be held" in shots("render", tmp_path / "shop.csv", "--product", "1").stdout
    monkeypatch.setenv("PACKSHOT_SHOTS", str(SHOP))
    done = shots("render", tmp_path / "shop.csv", "--product", "2")
    assert done.returncode == 1
    assert "photo_needed: product '2', shot 'packshot' needs a photo" in done.stdout


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([EXAMPLE, "--product", "no-such"], "no-such"),
        ([EXAMPLE, "--product", "ceramic-vase", "--shot", "pakshot"], "did you mean 'packshot'?"),
        (["no-such.csv", "--product", "x"], "no-such.csv"),
    ],
)
def test_render_refuses_what_is_not_there(shots: Shots, arguments: list[str], words: str) -> None:
    done = shots("render", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


# --- lint -------------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("alone")
def test_lint_ends_with_0_1_or_2(shots: Shots, tmp_path: Path) -> None:
    clean = shots("lint")
    assert (clean.returncode, clean.stdout) == (0, "Nothing to mend: packshot, lifestyle, detail.\n")
    assert shots("lint", SHOP).returncode == 0
    (tmp_path / "own.yaml").write_text(
        "version: 1\nshots: [{name: a, channel: walmart, prompt: 'Size {{ attributes.size }} {{ frame_share }}'}]\n"
    )
    told = document(shots("lint", tmp_path / "own.yaml", "--json"), 1)
    assert [finding["shot"] for finding in told["findings"]] == ["a", "a"]
    assert "walmart has a rule for the background" in told["findings"][0]["message"]
    assert "no attribute 'size'" in told["findings"][1]["message"]
    (tmp_path / "own.yaml").write_text("version: 1\nshots: [{name: a, channel: walmart, prompt: '{{ sku }}'}]\n")
    broken = shots("lint", tmp_path / "own.yaml")
    assert (broken.returncode, broken.stdout) == (2, "")
    assert "unknown template variable 'sku'" in broken.stderr


@pytest.mark.usefixtures("alone")
def test_lint_tries_a_catalog(shots: Shots) -> None:
    assert shots("lint", "--catalog", EXAMPLE).returncode == 0
    told = document(shots("lint", SHOP, "--catalog", EXAMPLE, "--json"), 1)
    messages = [finding["message"] for finding in told["findings"]]
    assert "`when` holds for none of the 9 products of the catalog" in messages  # no jewellery there
    assert "archetype 'bicycles': 'Bicycles' fits no category of the catalog" in messages
    assert "3 products are apparel" not in told["notes"]
    assert "3 products are homeware" in told["notes"]
