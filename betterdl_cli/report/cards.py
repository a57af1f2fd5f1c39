"""Cards of techniques, datasets and models, as plain documents and as text."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from betterdl_cli.datasets.base import DATASETS
from betterdl_cli.models.base import MODELS
from betterdl_cli.parameters import bound
from betterdl_cli.registry import Card, Registry
from betterdl_cli.spec import Frozen, show
from betterdl_cli.techniques.base import AREAS, TECHNIQUES


def _width() -> int:
    """Of the lines: that of the terminal, between what can hold a card and what reads well."""
    return min(100, max(30, shutil.get_terminal_size((100, 24)).columns))


def catalogue() -> dict[str, Registry[Any]]:
    """What ``bdl list`` can list."""
    return {"techniques": TECHNIQUES, "datasets": DATASETS, "models": MODELS}


def card_document(registry: Registry[Any], name: str) -> dict[str, Any]:
    """One card as plain data. Raises :class:`LookupError` for an unknown name."""
    leaf: type[Frozen] = registry.get(name)
    card = Card.of(leaf)
    document: dict[str, Any] = {"name": name, "what": registry.what, "summary": card.summary}
    for fact in ("area", "task"):
        if hasattr(leaf, fact):
            document[fact] = getattr(leaf, fact)
    document["parameters"] = [_parameter(key, field) for key, field in leaf.model_fields.items()]
    document["sections"] = card.sections
    return document


def _parameter(name: str, field: FieldInfo) -> dict[str, Any]:
    default = None if field.default is PydanticUndefined else field.default
    return {
        "name": name,
        "type": _type_words(field.annotation),
        "range": ", ".join(_bound(item) for item in field.metadata if _bound(item)),
        "required": field.is_required(),
        "default": list(default) if isinstance(default, tuple) else default,
        "description": field.description or "",
    }


def _bound(item: Any) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    return ", ".join(f"{sign} {bound(getattr(item, name))}" for name, sign in signs.items() if hasattr(item, name))


def _type_words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_words(arguments[0])
    if origin is Literal:
        return " | ".join(str(item) for item in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_type_words(item) for item in arguments if item is not NoneType)
    if origin is tuple:
        return f"list of {_type_words(arguments[0])}s"
    return {"int": "integer", "float": "number", "bool": "true or false", "str": "text"}.get(
        getattr(annotation, "__name__", ""), str(annotation)
    )


def overview(catalogued: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """All names with their sentence; techniques by area."""
    blocks = []
    for kind, cards in catalogued.items():
        if kind == "techniques":
            for area in AREAS:
                mine = [card for card in cards if card["area"] == area]
                if mine:
                    blocks.append(_block(f"techniques for {area}", mine))
        else:
            blocks.append(_block(kind, cards))
    names = {"techniques": "dropout", "datasets": "make_circles", "models": "mlp"}
    kind = next(iter(catalogued))
    return "\n\n".join(blocks) + f"\n\nThe card of one: bdl list {kind} {names[kind]}"


def _block(title: str, cards: Sequence[Mapping[str, Any]]) -> str:
    width = max(len(card["name"]) for card in cards)
    lines = [title]
    for card in cards:
        indent = " " * (width + 4)
        lines.append(textwrap.fill(card["summary"], _width(), initial_indent=f"  {card['name']:<{width}}  ",
                                   subsequent_indent=indent))  # fmt: skip
    return "\n".join(lines)


def card_text(document: Mapping[str, Any]) -> str:
    """One card for people."""
    lines = [f"{document['name']} ({document.get('area') or document.get('task') or document['what']})"]
    lines += [*textwrap.wrap(document["summary"], _width()), "", "Parameters"]
    for item in document["parameters"]:
        default = "required" if item["required"] else f"default {show(item['default'])}"
        bounds = f", {item['range']}" if item["range"] else ""
        lines += textwrap.wrap(
            f"{item['name']}: {item['type']}{bounds}, {default}: {item['description']}",
            _width(), initial_indent="  ", subsequent_indent="      ",
        )  # fmt: skip
    if not document["parameters"]:
        lines.append("  none")
    for title, body in document["sections"].items():
        paragraphs = " ".join(body.split())
        lines += ["", title, *textwrap.wrap(paragraphs, _width(), initial_indent="  ", subsequent_indent="  ")]
    return "\n".join(lines)
