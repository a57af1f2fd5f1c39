"""Check plain values against a pydantic model, and say what is wrong in this project's words."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from betterdl_cli.errors import Fault, Path, nearest, shortened

M = TypeVar("M", bound=BaseModel)


def check(model: type[M], value: Any, path: Path, faults: list[Fault], *, others: Sequence[str] = ()) -> M | None:
    """An instance of ``model`` from plain data; on faults, all of them are appended and None is returned.

    ``others`` are keys that are valid beside those of ``model``, to be named where a key is unknown.
    """
    if not isinstance(value, Mapping):
        faults.append(Fault(f"expected a mapping (key: value), found {found(value)}", path))
        return None
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        own: list[Fault] = []
        for detail in error.errors(include_url=False):
            fault = _fault(model, value, path, detail, others)
            # The members of a union each report their own, and a list that lost its faulty items is too short.
            inside = any(other.path[: len(fault.path)] == fault.path for other in own)
            if not inside:
                own.append(fault)
        faults.extend(own)
        return None


def check_kind(
    value: Any,
    path: Path,
    faults: list[Fault],
    get: Callable[[str], type[M]],
    kinds: Sequence[str],
    *,
    default: str | None = None,
    others: Sequence[str] = (),
) -> tuple[str, M] | None:
    """Split ``kind`` (one of ``kinds``) from a mapping and check the rest against the class that ``get`` finds."""
    if not isinstance(value, Mapping):
        faults.append(Fault(f"expected a mapping with a kind, found {found(value)}", path))
        return None
    kind = value.get("kind", default)
    if kind is None:
        faults.append(Fault(f"expected a kind (kind: {' | '.join(kinds)}), found none", path))
        return None
    if not isinstance(kind, str):
        faults.append(Fault(f"expected a name, found {found(kind)}", (*path, "kind")))
        return None
    try:
        cls = get(kind)
    except LookupError as error:
        faults.append(Fault(str(error), (*path, "kind"), suggestion=getattr(error, "suggestion", None)))
        return None
    rest = {key: item for key, item in value.items() if key != "kind"}
    parameters = check(cls, rest, path, faults, others=others)
    return None if parameters is None else (kind, parameters)


def found(value: Any) -> str:
    """A value as messages name it: what it is, and the text of it when short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {json.dumps(value)}"
    if isinstance(value, str):
        return f"the text '{shortened(value)}'"
    if isinstance(value, (int, float)):
        return f"{value!r}"
    return "a mapping" if isinstance(value, Mapping) else "a list"


_WANTED = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "model_type": "a mapping",
}

# in this order, so that int | float is a number
_TYPES = {float: "a number", int: "an integer", bool: "true or false", str: "a text", tuple: "a list"}

MAX_NAMES = 12  # more than these are not listed in a message

_BOUNDS = {"greater_than": ("gt", ">"), "greater_than_equal": ("ge", "≥"), "less_than": ("lt", "<"),
           "less_than_equal": ("le", "≤")}  # fmt: skip


def bound(number: float) -> str:
    """The end of a range as messages and cards name it."""
    return str(number) if isinstance(number, int) else f"{number:g}"


def _fault(model: type[BaseModel], value: Any, path: Path, detail: ErrorDetails, others: Sequence[str] = ()) -> Fault:
    kind, given, context = detail["type"], detail.get("input"), detail.get("ctx", {})
    location = _real_location(value, detail["loc"], missing=kind == "missing")
    where = (*path, *location)
    if kind == "extra_forbidden":
        place = _model_at(model, location[:-1])
        known = (*place.model_fields, *others) if place is model else tuple(place.model_fields)
        return Fault(
            f"unknown key; expected one of: {', '.join(known)}" if known else "unknown key; this takes no parameters",
            where,
            suggestion=nearest(str(location[-1]), known),
            at_key=True,
        )
    if kind == "missing":
        return Fault(f"required key is missing; expected {_held(_model_at(model, location[:-1]), location[-1])}", where)
    if kind == "literal_error":
        names = _names(str(context["expected"]))
        suggestion = nearest(given, names) if isinstance(given, str) else None
        return Fault(f"expected {_choice(names, given)}, found {found(given)}", where, suggestion=suggestion)
    if kind in _BOUNDS:
        name, sign = _BOUNDS[kind]
        return Fault(f"expected a number {sign} {bound(context[name])}, found {found(given)}", where)
    if kind in _WANTED:
        return Fault(f"expected {_WANTED[kind]}, found {found(given)}", where)
    if kind == "too_short":
        least = context["min_length"]
        plural = "" if least == 1 else "s"
        return Fault(f"expected at least {least} value{plural}, found {context['actual_length'] or 'none'}", where)
    return Fault(detail["msg"], where)


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel]:
    """The model that describes the mapping at ``location``."""
    for part in location:
        annotation = model.model_fields[str(part)].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return model
        model = annotation
    return model


def _held(model: type[BaseModel], key: str | int) -> str:
    """What a field takes, in words: its type and its description."""
    field = model.model_fields[str(key)]
    origin = get_origin(field.annotation)
    kinds = (field.annotation, origin, *(() if origin is tuple else get_args(field.annotation)))
    kind = next((words for type_, words in _TYPES.items() if type_ in kinds), "")
    return ": ".join(part for part in (kind, field.description) if part) or "a value"


def _choice(names: Sequence[str], given: Any) -> str:
    """The names to choose from; of many, those that are like what was given."""
    if len(names) <= MAX_NAMES:
        return " or ".join(", ".join(f"'{name}'" for name in names).rsplit(", ", 1))
    alike = difflib.get_close_matches(given, names, 5, cutoff=0) if isinstance(given, str) else names[:5]
    return f"one of {len(names)} names ({', '.join(alike)}, …)"


def _names(expected: str) -> list[str]:
    return [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]


def _real_location(value: Any, location: tuple[int | str, ...], *, missing: bool) -> Path:
    """pydantic's location without the names of union members, which are no keys of the file."""
    real: list[str | int] = []
    for part in location:
        inside = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if inside or (isinstance(value, Mapping) and part in value):
            value = value[part]
        elif missing and part == location[-1]:
            value = None
        else:
            continue
        real.append(part)
    return tuple(real)
