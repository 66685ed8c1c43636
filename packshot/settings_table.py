"""The table of settings in the README, made from the Settings themselves.

python -m packshot.settings_table README.md     writes it between its two markers
python -m packshot.settings_table               prints it
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from packshot.settings import ENV_FILE, PREFIX, Settings

BEGIN = "<!-- settings: begin (python -m packshot.settings_table README.md) -->"
END = "<!-- settings: end -->"


def settings_table() -> str:
    """Markdown: one row for each variable, in the order of the code."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    rows += [
        f"| `{PREFIX}{name.upper()}` | {_default(field)} | {_cell(field.description or '')}{_choices(field)} |"
        for name, field in Settings.model_fields.items()
    ]
    rows.append(f"| `{ENV_FILE}` | `.env` | File that holds these variables; the environment wins over it |")
    return "\n".join(rows)


def with_table(text: str) -> str:
    """``text`` with the table between its markers brought up to date.

    Raises:
        ValueError: the markers are missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the markers are missing: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{settings_table()}\n{END}{after}"


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, tuple):
        value = ",".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return "" if value is None or value in ("", {}) else f"`{str(value).rstrip('/')}`"


def _choices(field: FieldInfo) -> str:
    choices = [f"`{choice}`" for choice in get_args(field.annotation) if isinstance(choice, str) and choice]
    return f" ({', '.join(choices)})" if choices else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main(arguments: list[str]) -> None:
    if not arguments:
        sys.stdout.write(settings_table() + "\n")
    for name in arguments:
        path = Path(name)
        path.write_text(with_table(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
