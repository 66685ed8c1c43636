"""YAML files that people write by hand: every mistake becomes a sentence with file, line and field.

What a file may hold is a pydantic model; :class:`Grammar` says how messages about it speak.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from packshot.did_you_mean import did_you_mean
from packshot.errors import Code, ConfigError

MAX_BYTES = 1024 * 1024
_SHOWN_ERRORS = 5

Loc = tuple[int | str, ...]
Model = TypeVar("Model", bound=BaseModel)

# Pydantic speaks of Python types; people who write YAML do not.
_WORDS = {
    "missing": "is missing",
    "tuple_type": "must be a list, like [a, b]",
    "list_type": "must be a list, like [a, b]",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}


class _Loader(yaml.SafeLoader):
    """Reads every unquoted value as text, so that a ratio is a ratio.

    YAML 1.1 takes ``4:5`` for the number 245 (base 60) and ``no`` for false. The fields know their types themselves.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class FaultAt(ValueError):
    """Raised by a check of a whole: the mistake is further inside, at ``at`` below what is checked."""

    def __init__(self, message: str, at: Loc) -> None:
        super().__init__(message)
        self.at = at


def _first_part(loc: Loc, root: yaml.Node) -> str:
    return f"{'.'.join(map(str, loc))} " if loc else "the file "


def _nothing_said(fault: object) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Grammar:
    """How messages about one kind of file speak."""

    what: str
    """Such as ``a shot list``."""
    code: Code
    needs: str
    """What an empty file lacks, as it would be written."""
    model_at: Callable[[Loc], type[BaseModel]]
    """Whose fields are allowed where an unknown one was found."""
    place: Callable[[Loc, yaml.Node], str] = _first_part
    """The way to a field as a person would say it, with a blank at the end."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Pydantic's type of error -> what is wrong, where that depends on the kind of file."""
    line_within: Callable[[object], int] = _nothing_said
    """The line, from 1, within a block of text at which an exception of ours says the mistake is; 0: unknown."""


def read_text(path: Path, grammar: Grammar) -> str:
    """The file's text.

    Raises:
        ConfigError: it is missing, unreadable, too large or not UTF-8.
    """
    what, code = grammar.what, grammar.code
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(code, f"{path} has {size} bytes; {what} has at most {MAX_BYTES}")
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(code, f"{path}, {what}, cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(code, f"{path} is not UTF-8 text (byte {error.start})") from None


def parse_yaml(text: str, file: str, model: type[Model], grammar: Grammar) -> Model:
    """The file's content, checked; ``file`` is how messages call it.

    Raises:
        ConfigError: it is no YAML, or does not fit the model; names file, line, field, what was found and is allowed.
    """
    node, data = _read_yaml(text, file, grammar)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # A list of which every item is wrong counts as too short as well: that adds nothing.
        faults = [e for e in error.errors() if not (e["type"] == "too_short" and e["input"])]
        found = list(dict.fromkeys(_explain(fault, node, file, grammar) for fault in faults))
    more = [f"and {len(found) - _SHOWN_ERRORS} more"] if len(found) > _SHOWN_ERRORS else []
    raise ConfigError(grammar.code, "; ".join(found[:_SHOWN_ERRORS] + more))


def peek_yaml(text: str, file: str, grammar: Grammar) -> Any:
    """What the file says, unchecked, every plain value as text.

    Raises:
        ConfigError: it is no YAML.
    """
    return _read_yaml(text, file, grammar)[1]


def _read_yaml(text: str, file: str, grammar: Grammar) -> tuple[yaml.Node, Any]:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise ConfigError(grammar.code, f"{file} is empty; it needs {grammar.needs}")
        _refuse_repeated_keys(node, file, grammar.code, seen=set())
        return node, loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(grammar.code, f"{file}{line}: this is not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        raise ConfigError(grammar.code, f"{file} is not YAML: {error.reason} (character {error.position})") from None


def _refuse_repeated_keys(node: yaml.Node, file: str, code: Code, seen: set[int]) -> None:
    """YAML itself lets the last of two equal keys win, in silence."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in names and key.tag != "tag:yaml.org,2002:merge":
                where = f"{file}:{key.start_mark.line + 1}"
                raise ConfigError(code, f"{where}: {key.value!r} is given twice for the same thing")
            names.add(str(key.value))
            _refuse_repeated_keys(value, file, code, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, file, code, seen)


def _explain(error: ErrorDetails, root: yaml.Node, file: str, grammar: Grammar) -> str:
    fault = error.get("ctx", {}).get("error")
    loc = error["loc"] + (fault.at if isinstance(fault, FaultAt) else ())
    line = _line_in_file(node_at(root, loc), grammar.line_within(fault))
    return f"{file}:{line}: {grammar.place(loc, root)}{_what(error, grammar)}"


def _what(error: ErrorDetails, grammar: Grammar) -> str:
    kind, found = error["type"], error["input"]
    if kind == "extra_forbidden":
        allowed = grammar.model_at(error["loc"]).model_fields
        return f"is not a field here{did_you_mean(str(error['loc'][-1]), allowed)} (allowed: {', '.join(allowed)})"
    if kind == "literal_error":
        choices = [choice.strip("'") for choice in re.split(", | or ", error["ctx"]["expected"])]
        return f"found {found!r}{did_you_mean(str(found), choices)} (allowed: {', '.join(choices)})"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    words = grammar.words.get(kind) or _WORDS.get(kind) or error["msg"].replace("Input should be", "must be")
    return words if kind == "missing" else f"{words} (found {_short(found)})"


def _short(found: Any) -> str:
    if isinstance(found, Mapping):
        return "fields"
    if isinstance(found, Sequence) and not isinstance(found, str):
        return "an empty list" if not found else "a list"
    if found is None:
        return "nothing"
    return repr(found if len(str(found)) <= 60 else str(found)[:59] + "…")


def node_at(node: yaml.Node, loc: Loc) -> yaml.Node:
    """The deepest node on the way to ``loc``: for a missing field, what should have it."""
    for part in loc:
        child = child_of(node, part)
        if child is None:
            return node
        node = child
    return node


def child_of(node: yaml.Node, part: int | str) -> yaml.Node | None:
    """The item of a list, or the value of a field."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        found: yaml.Node = node.value[part]
        return found
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    return None


def _line_in_file(node: yaml.Node, within: int) -> int:
    line: int = node.start_mark.line + 1
    if within and isinstance(node, yaml.ScalarNode) and node.style == "|":
        blank_lines: int = node.value[: -len(node.value.lstrip())].count("\n")  # the text begins after these
        return line + blank_lines + within  # and on the line below the bar
    return line
