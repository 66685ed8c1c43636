"""Read a shot list from YAML; every mistake in it becomes a sentence with file, line, shot and field."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import yaml
from pydantic import BaseModel

from packshot.errors import Code
from packshot.shots.archetypes import ArchetypeEntry
from packshot.shots.prompt import TemplateFault
from packshot.shots.shot_list import Shot, ShotList, When
from packshot.yaml_file import Grammar, Loc, child_of, node_at, parse_yaml, read_text


def load_shot_list(path: Path | None) -> ShotList:
    """Read and check a shot list; None is the one that comes with packshot.

    Raises:
        ConfigError: SHOTS_INVALID; names the file and, where there is one, the line, shot and field.
    """
    if path is None:
        return parse_shot_list(
            resources.files("packshot.shots").joinpath("default.yaml").read_text("utf-8"), "default.yaml"
        )
    return parse_shot_list(read_text(path, _GRAMMAR), str(path))


def parse_shot_list(text: str, file: str) -> ShotList:
    """As :func:`load_shot_list`, from text; ``file`` is how messages call it."""
    return parse_yaml(text, file, ShotList, _GRAMMAR)


def _model_at(loc: Loc) -> type[BaseModel]:
    if loc[0] == "archetypes" and len(loc) > 2:
        return ArchetypeEntry
    if "when" in loc[2:-1]:
        return When
    return Shot if len(loc) > 2 else ShotList


def _place(loc: Loc, root: yaml.Node) -> str:
    """``"shot 'packshot', image_size "``, as a person would say it."""
    if not loc:
        return "the file "
    if loc[0] == "archetypes" and len(loc) > 2:
        return f"archetype {loc[1]!r}, {'.'.join(str(part) for part in loc[2:])} "
    if loc[0] != "shots" or len(loc) == 1:
        return f"{'.'.join(str(part) for part in loc)} "
    number = int(loc[1]) + 1
    name = child_of(node_at(root, loc[:2]), "name")
    shot = f"shot {name.value!r}" if isinstance(name, yaml.ScalarNode) else f"shot number {number}"
    field = ".".join(str(part) for part in loc[2:])
    return f"{shot}, {field} " if field else f"{shot}: "


def _line_within(fault: object) -> int:
    return fault.line if isinstance(fault, TemplateFault) else 0


_GRAMMAR = Grammar(
    what="a shot list",
    code=Code.SHOTS_INVALID,
    needs="`version: 1` and `shots:`",
    model_at=_model_at,
    place=_place,
    words={
        "string_pattern_mismatch": "must be lower-case letters and digits, with single hyphens between them",
        "string_too_long": "must have 40 characters or fewer",
        "model_type": "must hold fields, like `name: packshot`",
        "mapping_type": "must hold fields, like `colour: [red]`",
    },
    line_within=_line_within,
)
