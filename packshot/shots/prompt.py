"""From a shot's prompt template and a product to the text that is sent.

Templates are Jinja2 in its sandbox. Only what makes the same text every time is available: a prompt decides an
image's key, so a prompt that varies would buy the same picture again and again.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from packshot.catalog.model import Product
from packshot.did_you_mean import did_you_mean
from packshot.errors import Code, PackshotError
from packshot.shots.archetypes import Archetype
from packshot.shots.channels import Framing
from packshot.shots.product_text import (
    MAX_DESCRIPTION,
    MAX_LINE,
    MAX_TITLE,
    Attributes,
    attribute_name,
    facts_block,
    plain,
)

MAX_PROMPT = 12_000
"""Characters. The API documents no limit of its own; the longest facts with a long template come to about 10,000."""

VARIABLES = (
    "title",
    "description",
    "category",
    "brand",
    "attributes",
    "reference_count",
    "shot",
    "variant",
    "aspect_ratio",
    "facts",
    "archetype",
    "background",
    "frame_share",
)


class TemplateFault(ValueError):
    """A prompt template that can never work. ``line`` counts from 1 within the template, 0 when unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class _Missing(StrictUndefined):
    """Fails on use, and says which attributes the product does have."""

    @property
    def _undefined_message(self) -> str:
        if isinstance(self._undefined_obj, Attributes):
            has = ", ".join(self._undefined_obj) or "none"
            return f"the product has no attribute {self._undefined_name!r} (it has: {has})"
        return super()._undefined_message


def _only_text(value: Any) -> Any:
    """Refuse to print objects: their text may hold a memory address, and nobody wants it in a prompt."""
    if isinstance(value, str | int | float | Undefined):
        return value
    raise TypeError(f"{{{{ }}}} can print text and numbers, found {type(value).__name__}")


_environment = ImmutableSandboxedEnvironment(
    undefined=_Missing, finalize=_only_text, trim_blocks=True, lstrip_blocks=True, autoescape=False
)
_environment.globals = {"range": _environment.globals["range"], "namespace": _environment.globals["namespace"]}
del _environment.filters["random"]


def check_template(template: str) -> None:
    """Raise :class:`TemplateFault` when a template has wrong syntax or uses what no product will ever provide."""
    try:
        tree = _environment.parse(template)
        used = meta.find_undeclared_variables(tree) - set(_environment.globals)
        others = list(meta.find_referenced_templates(tree))
        _compiled(template)
    except TemplateSyntaxError as error:
        raise TemplateFault(f"template error: {error.message}", error.lineno) from None
    if others:
        raise TemplateFault("include, import and extends cannot be used: a prompt is one template")
    unknown = sorted(used - set(VARIABLES))
    if unknown:
        found = ", ".join(f"{name!r}{did_you_mean(name, VARIABLES)}" for name in unknown)
        raise TemplateFault(
            f"unknown template variable {found} (allowed: {', '.join(VARIABLES)})", _line_of(template, unknown[0])
        )
    for node in tree.find_all(nodes.Getattr):
        if isinstance(node.node, nodes.Name) and node.node.name == "archetype":
            texts = Archetype.model_fields
            if node.attr not in texts:
                raise TemplateFault(
                    f"unknown template variable 'archetype.{node.attr}'{did_you_mean(node.attr, texts)} "
                    f"(allowed: {', '.join(f'archetype.{text}' for text in texts)})",
                    node.lineno,
                )


def variables_of(template: str) -> set[str]:
    """Which of VARIABLES the template uses."""
    return meta.find_undeclared_variables(_environment.parse(template)) & set(VARIABLES)


def attributes_of(template: str) -> set[str]:
    """The attributes that the template names, as prompts spell them."""
    tree = _environment.parse(template)
    named: set[str] = {node.attr for node in tree.find_all(nodes.Getattr) if _is_attributes(node.node)}
    for node in tree.find_all(nodes.Getitem):
        if _is_attributes(node.node) and isinstance(node.arg, nodes.Const):
            named.add(str(node.arg.value))
    return {attribute_name(name) for name in named - {"get", "items", "keys", "values"}}


def _is_attributes(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "attributes"


def render_prompt(
    product: Product,
    *,
    shot: str,
    template: str,
    variant: int,
    aspect_ratio: str,
    reference_count: int,
    archetype: Archetype,
    framing: Framing,
) -> str:
    """The final prompt: rendered, blanks tidied, 1 to MAX_PROMPT characters.

    Raises:
        PackshotError: UNRENDERABLE; the product lacks what the template asks for, or the text got too long.
    """
    attributes = Attributes(product.attributes)
    context = {
        "title": plain(product.title, MAX_TITLE),
        "description": plain(product.description, MAX_DESCRIPTION),
        "category": plain(product.category, MAX_LINE),
        "brand": plain(product.brand, MAX_LINE),
        "attributes": attributes,
        "reference_count": reference_count,
        "shot": shot,
        "variant": variant,
        "aspect_ratio": aspect_ratio,
        "facts": facts_block(product, attributes, shot),
        "archetype": archetype.model_dump(),
        "background": framing.background,
        "frame_share": framing.share,
    }
    try:
        prompt = _tidy(_compiled(template).render(context))
    # A template is a small program, so these are all the ways in which one can go wrong with one product's values.
    except (
        TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise _unrenderable(product, shot, str(error)) from None
    if not prompt:
        raise _unrenderable(product, shot, "it came out empty")
    if len(prompt) > MAX_PROMPT:
        raise _unrenderable(product, shot, f"it has {len(prompt)} characters, {MAX_PROMPT} are allowed")
    return prompt


def _unrenderable(product: Product, shot: str, reason: str) -> PackshotError:
    return PackshotError(
        Code.UNRENDERABLE, f"product {product.name!r}, shot {shot!r}: the prompt cannot be used: {reason}"
    )


@lru_cache(maxsize=256)
def _compiled(template: str) -> Template:
    return _environment.from_string(template)


def _tidy(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _line_of(template: str, name: str) -> int:
    before = re.split(rf"\b{re.escape(name)}\b", template, maxsplit=1)[0]
    return before.count("\n") + 1
