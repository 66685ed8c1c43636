"""From a shot's prompt template and a product to the text that is sent.

Templates are Jinja2 in its sandbox. Only what makes the same text every time is available: a prompt decides an
image's key, so a prompt that varies would buy the same picture again and again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from secrets import token_hex
from typing import Any, NamedTuple

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, Undefined, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from packshot.did_you_mean import did_you_mean
from packshot.errors import Code, PackshotError
from packshot.shots.archetypes import Archetype
from packshot.shots.channels import Framing
from packshot.shots.product_text import Attributes, ProductText, attribute_name

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


_OF_PRODUCT = {"title", "description", "category", "brand", "attributes", "facts"}
_REMEMBERED = 4096


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
    texts: ProductText,
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
    chosen = _Chosen(shot, template, variant, aspect_ratio, reference_count, archetype, framing)
    try:
        prompt = _tidied(texts, chosen)
    # A template is a small program, so these are all the ways in which one can go wrong with one product's values.
    except (
        TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise _unrenderable(texts, shot, str(error)) from None
    if not prompt:
        raise _unrenderable(texts, shot, "it came out empty")
    if len(prompt) > MAX_PROMPT:
        raise _unrenderable(texts, shot, f"it has {len(prompt)} characters, {MAX_PROMPT} are allowed")
    return prompt


def _unrenderable(texts: ProductText, shot: str, reason: str) -> PackshotError:
    return PackshotError(
        Code.UNRENDERABLE, f"product {texts.name!r}, shot {shot!r}: the prompt cannot be used: {reason}"
    )


class _Chosen(NamedTuple):
    """What decides a prompt besides the product."""

    shot: str
    template: str
    variant: int
    aspect_ratio: str
    reference_count: int
    archetype: Archetype
    framing: Framing


_FACTS = f"facts-{token_hex(8)}"
"""Stands for the facts; nobody can have written it into a template."""
_words: dict[tuple[_Chosen, tuple[bool, ...]], list[str]] = {}
"""What stands around the facts, by what decides it."""


def _tidied(texts: ProductText, chosen: _Chosen) -> str:
    """The prompt. Where the product decides nothing but facts that are printed as they are, and which attributes are
    defined, the words around them are rendered once for all products that are alike in this."""
    facts = texts.facts(chosen.shot)
    asked = _attributes_asked(chosen.template)
    if asked is None or "  " in facts:
        return _tidy(_rendered(texts, chosen, facts))
    which = chosen, tuple([name in texts.attributes for name in asked])
    words = _words.get(which)
    if words is None:
        if len(_words) >= _REMEMBERED:
            _words.clear()
        # Blanks are tidied around words, whatever the words are.
        words = _words[which] = _tidy(_rendered(texts, chosen, _FACTS)).split(_FACTS)
    return facts.join(words)


def _rendered(texts: ProductText, chosen: _Chosen, facts: str) -> str:
    return _compiled(chosen.template).render(
        title=texts.title,
        description=texts.description,
        category=texts.category,
        brand=texts.brand,
        attributes=texts.attributes,
        reference_count=chosen.reference_count,
        shot=chosen.shot,
        variant=chosen.variant,
        aspect_ratio=chosen.aspect_ratio,
        facts=facts,
        archetype=_texts_of(chosen.archetype),
        background=chosen.framing.background,
        frame_share=chosen.framing.share,
    )


@lru_cache(maxsize=256)
def _attributes_asked(template: str) -> tuple[str, ...] | None:
    """The attributes of which a template asks whether they are defined. None for one that does more with a product
    than to ask this and to print its facts, or that is more than text, print and ``if``."""
    asked: list[str] = []
    named = 0
    for expression in _expressions(_environment.parse(template).body):
        if expression is None:
            return None
        if isinstance(expression, nodes.Name) and expression.name == "facts":
            continue
        whole = nodes.Output([expression])  # what find_all finds lies below a node
        named += sum(name.name in _OF_PRODUCT for name in whole.find_all(nodes.Name))
        questions = [test.node for test in whole.find_all(nodes.Test) if test.name == "defined"]
        asked += [node.attr for node in questions if isinstance(node, nodes.Getattr) and _is_attributes(node.node)]
    # What is named is named in such a question, and each is about a value: methods are always defined.
    if named != len(asked) or any(hasattr(Attributes, name) for name in asked):
        return None
    return tuple(dict.fromkeys(asked))


def _expressions(body: Iterable[nodes.Node]) -> Iterator[nodes.Node | None]:
    """What is printed, and what is asked by an ``if``; None for any other statement."""
    for node in body:
        if isinstance(node, nodes.Output):
            yield from node.nodes
        elif isinstance(node, nodes.If):
            yield node.test
            yield from _expressions([*node.body, *node.elif_, *node.else_])
        else:
            yield None


@lru_cache(maxsize=256)
def _texts_of(archetype: Archetype) -> dict[str, Any]:
    return archetype.model_dump()


@lru_cache(maxsize=256)
def _compiled(template: str) -> Template:
    return _environment.from_string(template)


def _tidy(text: str) -> str:
    """Lines without blanks around and double ones within, at most one empty line in a row."""
    if "  " in text or " \n" in text or "\n " in text or not text.replace("\n", "").isprintable():
        text = "\n".join([" ".join(line.split()) for line in text.splitlines()])
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _line_of(template: str, name: str) -> int:
    before = re.split(rf"\b{re.escape(name)}\b", template, maxsplit=1)[0]
    return before.count("\n") + 1
