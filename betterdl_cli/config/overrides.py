"""``KEY=VALUE`` words of the command line: changes to a config before it is checked, by the same rules."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from betterdl_cli.config import yaml12
from betterdl_cli.errors import ConfigError, Fault, nearest, shortened
from betterdl_cli.parameters import found

SECTIONS_OF_NAMES = ("base", "techniques", "arms")  # their keys are chosen by the user
INDEX = re.compile("0|[1-9][0-9]{0,8}")
# Several types are valid there, so that the check of the whole config must decide.
FREE = {("seeds",), ("training", "optimizer", "learning_rate"), ("data", "split", "validation")}


@dataclass(frozen=True)
class Override:
    """``text`` as typed, the keys and list indices it leads through, and the value it sets there."""

    text: str
    path: tuple[str, ...]
    value: Any

    @property
    def source(self) -> str:
        return _source(self.text)


def _source(text: str) -> str:
    return f"override '{text if len(text) <= 80 else text[:79] + '…'}'"


def parse_overrides(words: Sequence[str]) -> tuple[tuple[Override, ...], list[Fault]]:
    """The overrides, and a fault for every word that is not KEY=VALUE."""
    overrides, faults = [], []
    for word in words:
        key, equals, text = word.partition("=")
        parts = tuple(part.strip() for part in key.split("."))
        source = _source(word)
        if not equals or not all(parts):
            message = f"expected KEY=VALUE such as training.epochs=50, found '{shortened(word)}'"
            faults.append(Fault(message, file=source))
            continue
        try:
            overrides.append(Override(word, parts, yaml12.parse_value(text, source)))
        except ConfigError as error:
            faults.extend(error.faults)
    return tuple(overrides), faults


def apply_overrides(
    plain: Mapping[str, Any], overrides: Sequence[Override], complete: Mapping[str, Any] | None
) -> tuple[dict[str, Any], list[Fault]]:
    """A changed deep copy, and a fault for every override that leads nowhere or gives a value of another type.

    ``complete`` is the config with all defaults written out: an override may set what the file states, or a
    parameter that has a default. It is None when the file alone is not valid: then unknown keys and types are left
    to the check of the changed config.
    """
    changed = copy.deepcopy(dict(plain))
    faults = [fault for override in overrides if (fault := _set(changed, override, complete))]
    return changed, faults


def _set(changed: dict[str, Any], override: Override, complete: Mapping[str, Any] | None) -> Fault | None:
    place: Any = changed
    full: Any = complete
    for depth, name in enumerate(override.path):
        key = _key(place, name)
        if fault := _unknown(place, full, key, override, depth, whole=complete is not None):
            return fault
        if depth == len(override.path) - 1:
            before = _at(place, key) if key in _keys(place) else _at(full, key)
            if complete is not None and (fault := _type_change(before, override)):
                return fault
            place[key] = override.value
            return None
        inside, full = _at(place, key), _at(full, key)
        if not isinstance(inside, (dict, list)):
            inside = place[key] = copy.deepcopy(full) if isinstance(full, list) else {}
        place = inside
    return None


def _unknown(place: Any, full: Any, key: str | int, override: Override, depth: int, *, whole: bool) -> Fault | None:
    """The fault of a path that leads nowhere at this depth."""
    last = depth == len(override.path) - 1
    known = _keys(place) if isinstance(place, list) else {**_keys(full), **_keys(place)}
    in_scalar = not last and key in known and _is_scalar(_at(place, key)) and not _keys(_at(full, key))
    names_something = depth == 1 and override.path[0] in SECTIONS_OF_NAMES
    if not in_scalar and (key in known or (last and names_something) or not (whole or isinstance(place, list))):
        return None
    at = override.path[: depth + 1 + in_scalar]
    where = ".".join(at[:-1]) or "the config"
    if in_scalar:
        return Fault(f"unknown path: {where} is {found(_at(place, key))}, without keys", at, file=override.source)
    names = [str(name) for name in known]
    message = f"unknown path: {where} has {', '.join(names) or 'no keys'}; found '{shortened(at[-1])}'"
    suggestion = nearest(at[-1], names)
    if names_something and suggestion is None:
        message += f"; to add it: '{where}.{shortened(at[-1])}={{…}}'"
    return Fault(message, at, suggestion, file=override.source)


def _key(place: Any, name: str) -> str | int:
    return int(name) if isinstance(place, list) and INDEX.fullmatch(name) else name


def _keys(value: Any) -> dict[Any, None]:
    if isinstance(value, Mapping):
        return dict.fromkeys(value)
    return dict.fromkeys(range(len(value))) if isinstance(value, list) else {}


def _at(value: Any, key: str | int) -> Any:
    return value[key] if key in _keys(value) else None


def _is_scalar(value: Any) -> bool:
    return value is not None and not isinstance(value, (dict, list))


def _type_change(before: Any, override: Override) -> Fault | None:
    """A text, a truth value, a number and a mapping do not replace one another; a list may sweep any of them."""
    after = override.value
    exempt = before is None or after is None or isinstance(after, list) or isinstance(before, list)
    if exempt or override.path in FREE or _sort(before) == _sort(after):
        return None
    here = f" (the config has {found(before)})" if _is_scalar(before) else ""
    message = f"change of type: expected {_sort(before)}{here}, found {found(after)}"
    return Fault(message, override.path, file=override.source)


def _sort(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    return "a text" if isinstance(value, str) else "a mapping"
