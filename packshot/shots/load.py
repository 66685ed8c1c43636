"""Read a shot list from YAML; every mistake in it becomes a sentence with file, line, shot and field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from packshot.errors import Code, ConfigError
from packshot.shots.did_you_mean import did_you_mean
from packshot.shots.model import AspectRatio, ImageSize
from packshot.shots.prompt import TemplateFault
from packshot.shots.shot_list import Shot, ShotList, When

MAX_BYTES = 1024 * 1024
_SHOWN_ERRORS = 5

_CHOICES = {"aspect_ratio": get_args(AspectRatio), "image_size": get_args(ImageSize), "version": ("1",)}
# Pydantic speaks of Python types; people who write YAML do not.
_WORDS = {
    "missing": "is missing",
    "tuple_type": "must be a list, like [a, b]",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_pattern_mismatch": "must be lower-case letters and digits, with single hyphens between them",
    "string_too_long": "must have 40 characters or fewer",
    "model_type": "must hold fields, like `name: packshot`",
    "mapping_type": "must hold fields, like `colour: [red]`",
}


class _Loader(yaml.SafeLoader):
    """Reads every unquoted value as text, so that a ratio is a ratio.

    YAML 1.1 takes ``4:5`` for the number 245 (base 60) and ``no`` for false. The fields know their types themselves.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load_shot_list(path: Path | None) -> ShotList:
    """Read and check a shot list; None is the one that comes with packshot.

    Raises:
        ConfigError: SHOTS_INVALID; names the file and, where there is one, the line, shot and field.
    """
    if path is None:
        return parse_shot_list(
            resources.files("packshot.shots").joinpath("default.yaml").read_text("utf-8"), "default.yaml"
        )
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(Code.SHOTS_INVALID, f"{path} has {size} bytes; a shot list has at most {MAX_BYTES}")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(Code.SHOTS_INVALID, f"the shot list {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(Code.SHOTS_INVALID, f"{path} is not UTF-8 text (byte {error.start})") from None
    return parse_shot_list(text, str(path))


def parse_shot_list(text: str, file: str) -> ShotList:
    """As :func:`load_shot_list`, from text; ``file`` is how messages call it."""
    node, data = _read_yaml(text, file)
    try:
        return ShotList.model_validate(data)
    except ValidationError as error:
        # A list of which every item is wrong counts as too short as well: that adds nothing.
        faults = [e for e in error.errors() if not (e["type"] == "too_short" and e["input"])]
        found = [_explain(fault, node, file) for fault in faults]
    more = [f"and {len(found) - _SHOWN_ERRORS} more"] if len(found) > _SHOWN_ERRORS else []
    raise ConfigError(Code.SHOTS_INVALID, "; ".join(found[:_SHOWN_ERRORS] + more))


def _read_yaml(text: str, file: str) -> tuple[yaml.Node, Any]:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise ConfigError(Code.SHOTS_INVALID, f"{file} is empty; it needs `version: 1` and `shots:`")
        _refuse_repeated_keys(node, file, seen=set())
        return node, loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(Code.SHOTS_INVALID, f"{file}{line}: this is not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        raise ConfigError(
            Code.SHOTS_INVALID, f"{file} is not YAML: {error.reason} (character {error.position})"
        ) from None


def _refuse_repeated_keys(node: yaml.Node, file: str, seen: set[int]) -> None:
    """YAML itself lets the last of two equal keys win, in silence."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in names and key.tag != "tag:yaml.org,2002:merge":
                raise ConfigError(
                    Code.SHOTS_INVALID,
                    f"{file}:{key.start_mark.line + 1}: {key.value!r} is given twice for the same thing",
                )
            names.add(str(key.value))
            _refuse_repeated_keys(value, file, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, file, seen)


def _explain(error: ErrorDetails, root: yaml.Node, file: str) -> str:
    loc = error["loc"]
    node = _node_at(root, loc)
    line = _line_in_file(node, error.get("ctx", {}).get("error"))
    return f"{file}:{line}: {_place(loc, root)}{_what(error)}"


def _what(error: ErrorDetails) -> str:
    kind, found = error["type"], error["input"]
    field = str(error["loc"][-1]) if error["loc"] else ""
    if kind == "extra_forbidden":
        allowed = _model_at(error["loc"]).model_fields
        return f"is not a field here{did_you_mean(field, allowed)} (allowed: {', '.join(allowed)})"
    if kind == "literal_error":
        choices = _CHOICES[field]
        return f"found {found!r}{did_you_mean(str(found), choices)} (allowed: {', '.join(choices)})"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "missing":
        return _WORDS[kind]
    words = _WORDS.get(kind) or error["msg"].replace("Input should be", "must be")
    return f"{words} (found {_short(found)})"


def _short(found: Any) -> str:
    if isinstance(found, Mapping):
        return "fields"
    if isinstance(found, Sequence) and not isinstance(found, str):
        return "an empty list" if not found else "a list"
    if found is None:
        return "nothing"
    return repr(found if len(str(found)) <= 60 else str(found)[:59] + "…")


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel]:
    if "when" in loc[2:-1]:
        return When
    return Shot if len(loc) > 2 else ShotList


def _place(loc: tuple[int | str, ...], root: yaml.Node) -> str:
    """``"shot 'packshot', image_size "``, as a person would say it."""
    if not loc:
        return "the file "
    if loc[0] != "shots" or len(loc) == 1:
        return f"{loc[0]} "
    number = int(loc[1]) + 1
    name = _child(_node_at(root, loc[:2]), "name")
    shot = f"shot {name.value!r}" if isinstance(name, yaml.ScalarNode) else f"shot number {number}"
    field = ".".join(str(part) for part in loc[2:])
    return f"{shot}, {field} " if field else f"{shot}: "


def _node_at(node: yaml.Node, loc: tuple[int | str, ...]) -> yaml.Node:
    """The deepest node on the way to ``loc``: for a missing field, what should have it."""
    for part in loc:
        child = _child(node, part)
        if child is None:
            return node
        node = child
    return node


def _child(node: yaml.Node, part: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        found: yaml.Node = node.value[part]
        return found
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    return None


def _line_in_file(node: yaml.Node, fault: Any) -> int:
    line: int = node.start_mark.line + 1
    if isinstance(fault, TemplateFault) and fault.line and isinstance(node, yaml.ScalarNode) and node.style == "|":
        blank_lines: int = node.value[: -len(node.value.lstrip())].count("\n")  # the template begins after these
        return line + blank_lines + fault.line  # and the text on the line below the bar
    return line
