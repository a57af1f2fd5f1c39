"""``KEY=VALUE`` words of the command line: changes to a config before it is checked, by the same rules."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from betterdl_cli.config import yaml12
from betterdl_cli.errors import ConfigError, Fault, Path, nearest
from betterdl_cli.parameters import found


@dataclass(frozen=True)
class Override:
    """``text`` as typed, the path it sets and the value it gives."""

    text: str
    path: Path
    value: Any

    @property
    def source(self) -> str:
        return f"override '{self.text}'"


def parse_overrides(words: Sequence[str]) -> tuple[Override, ...]:
    """Raises :class:`ConfigError` with every word that is not KEY=VALUE."""
    overrides, faults = [], []
    for word in words:
        key, equals, text = word.partition("=")
        parts: Path = tuple(int(part) if part.isdigit() else part for part in key.strip().split("."))
        source = f"override '{word}'"
        if not equals or not all(part != "" for part in parts):
            faults.append(Fault(f"expected KEY=VALUE such as training.epochs=50, found '{word}'", file=source))
            continue
        try:
            overrides.append(Override(word, parts, yaml12.parse_value(text, source)))
        except ConfigError as error:
            faults.extend(error.faults)
    if faults:
        raise ConfigError(faults)
    return tuple(overrides)


def apply_overrides(plain: Mapping[str, Any], overrides: Sequence[Override], complete: Mapping[str, Any] | None) -> Any:
    """A changed deep copy. An override may set what the file states, or a parameter that has a default.

    ``complete`` is the config with all defaults written out when the file alone is valid, to know those parameters.
    Raises :class:`ConfigError` for paths that do not exist and values of another type.
    """
    changed = copy.deepcopy(dict(plain))
    faults: list[Fault] = []
    for override in overrides:
        fault = _set(changed, override, complete)
        if fault:
            faults.append(fault)
    if faults:
        raise ConfigError(faults)
    return changed


def _set(changed: Any, override: Override, complete: Any) -> Fault | None:
    place, full = changed, complete
    for depth, part in enumerate(override.path):
        last = depth == len(override.path) - 1
        known = {**_keys(place), **_keys(full)}
        new_entry = last and depth == 1 and override.path[0] in {"base", "techniques", "arms"}
        if complete is not None and part not in known and not (new_entry and isinstance(override.value, (dict, list))):
            names = [str(key) for key in known]
            where = ".".join(str(item) for item in override.path[:depth]) or "the config"
            message = f"unknown path: {where} has {', '.join(names) or 'no keys'}; found '{part}'"
            return Fault(message, override.path[: depth + 1], nearest(str(part), names), file=override.source)
        before = _at(place, part) if part in _keys(place) else _at(full, part)
        if last:
            if fault := _type_change(before, override):
                return fault
            if isinstance(place, list) and isinstance(part, int) and part >= len(place):
                return Fault(f"expected an index below {len(place)}", override.path, file=override.source)
            place[part] = override.value
            return None
        following = _at(place, part)
        if not isinstance(following, (dict, list)):
            following = {}
            place[part] = following
        place, full = following, _at(full, part)
    return None


def _keys(value: Any) -> dict[Any, None]:
    if isinstance(value, Mapping):
        return dict.fromkeys(value)
    return dict.fromkeys(range(len(value))) if isinstance(value, list) else {}


def _at(value: Any, part: str | int) -> Any:
    return value[part] if part in _keys(value) else None


def _type_change(before: Any, override: Override) -> Fault | None:
    """A text, a truth value, a number and a mapping do not replace one another; a list may sweep any of them."""
    after = override.value
    exempt = before is None or after is None or isinstance(after, list) or isinstance(before, list)
    learning_rate = override.path[-1:] == ("learning_rate",)
    seeds = override.path == ("seeds",)
    if exempt or learning_rate or seeds or _sort(before) == _sort(after):
        return None
    message = f"change of type: expected {_sort(before)} (the config has {found(before)}), found {found(after)}"
    return Fault(message, override.path, file=override.source)


def _sort(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    return "a text" if isinstance(value, str) else "a mapping"
