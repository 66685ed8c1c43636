"""How much does reading a catalog cost beside the plainest way to read a CSV file?

Both sides go through the same generated file: ``csv.DictReader``, which makes a dictionary of each row and checks
nothing, and Packshot, which finds encoding, delimiter, header and columns, checks every record, cleans texts, reads
prices and photo links, refuses keys that were used already, and makes Products. Each in a process of its own, in turn;
read the ratio, not the seconds.

    python -m benchmarks.reading --rows 1000000
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from packshot.catalog import Product, open_catalog

ROUNDS = 3
BAR = 3.0
MEMORY_BAR_MB = 200

COLUMNS = (
    "SKU", "Title", "Description", "Category", "Brand", "Price", "Currency", "Color", "Size", "Material", "Gender",
    "Image URL", "Product URL", "Barcode", "Weight", "Length", "Width", "Height", "Stock", "Status", "Tags", "Supplier",
    "Country of origin", "Updated",
)  # fmt: skip
WORDS = ("soft", "cotton", "linen", "ceramic", "steel", "oak", "walnut", "blue", "red", "green", "large", "handmade")
CATEGORIES = [f"Home > {room} > {thing}" for room in ("Kitchen", "Bath", "Garden") for thing in ("Cups", "Lamps")]


def generate(path: Path, rows: int) -> None:
    """A supplier's list: one product a row, descriptions with markup, photo links, columns that no picture needs."""
    chance = random.Random(1)

    def prose() -> str:
        return " ".join(chance.choices(WORDS, k=20))

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(rows):
            adjective, noun, colour, material = chance.choices(WORDS, k=4)
            writer.writerow([
                f"SKU-{number:07}", f"{adjective.title()} {noun} no {number}",
                f"<p>{prose()}.</p><p>{prose()}.</p>", chance.choice(CATEGORIES), "Acme & Søn",
                f"{chance.random() * 90:.2f}", "EUR", colour, "M", material, "unisex",
                f"https://cdn.example.com/p/{number}.jpg", f"https://shop.example.com/p/{number}",
                f"40{number:011}", "250", "10", "8", "9", "12", "active", "new, sale", "North", "DK", "2026-01-01",
            ])  # fmt: skip


def with_dict_reader(path: Path) -> int:
    with path.open(newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.DictReader(file))


def with_packshot(path: Path) -> int:
    reader = open_catalog(path)
    first = next(iter(reader))
    assert isinstance(first, Product)
    assert all((first.description, first.attributes, first.image_refs, first.price)), "a column was not recognised"
    products = sum(1 for _ in reader)
    assert reader.counts.balanced
    assert reader.counts.accepted == products
    return products


SIDES: dict[str, Callable[[Path], int]] = {"dict_reader": with_dict_reader, "packshot": with_packshot}


def measure(side: str, path: Path, rows: int) -> tuple[float, float]:
    """(seconds, peak memory in MB) of a process that does nothing else."""
    command = [sys.executable, "-m", "benchmarks.reading", "--side", side, "--file", str(path), "--rows", str(rows)]
    seconds, peak = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return seconds, peak


def run_side(side: str, path: Path, rows: int) -> None:
    began = time.perf_counter()
    found = SIDES[side](path)
    seconds = time.perf_counter() - began
    assert found == rows, f"{side} read {found} of {rows} rows"
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options.side, options.file, options.rows)
        return
    with tempfile.TemporaryDirectory(prefix="packshot-reading-") as folder:
        path = Path(folder) / "catalog.csv"
        generate(path, options.rows)
        size = path.stat().st_size / 1e6
        print(f"{options.rows:,} rows, {len(COLUMNS)} columns, {size:.0f} MB")
        ratios, memory = [], 0.0
        for number in range(ROUNDS):
            plain, _ = measure("dict_reader", path, options.rows)
            ours, peak = measure("packshot", path, options.rows)
            ratios.append(ours / plain)
            memory = max(memory, peak)
            seconds = f"DictReader {plain:.2f} s, Packshot {ours:.2f} s"
            print(f"round {number + 1}: {seconds}, ratio {ratios[-1]:.2f}, {peak:.0f} MB")
    ratio = statistics.median(ratios)
    print(f"ratio {ratio:.2f} (bar {BAR}), peak memory {memory:.0f} MB (bar {MEMORY_BAR_MB})")
    found = {"benchmark": "reading", "rows": options.rows, "ratio": round(ratio, 3), "memory_mb": round(memory)}
    print(json.dumps(found))
    if options.rows >= 100_000 and (ratio > BAR or memory > MEMORY_BAR_MB):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
