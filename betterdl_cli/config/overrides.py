"""``KEY=VALUE`` words of the command line: changes to a config before it is checked, by the same rules."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticCustomError

from betterdl_cli.config import yaml12
from betterdl_cli.config.experiment import checked_seeds
from betterdl_cli.config.places import keys_at, kinds_at
from betterdl_cli.errors import ConfigError, Fault, nearest, shortened
from betterdl_cli.parameters import found
from betterdl_cli.spec import show

INDEX = re.compile("0|[1-9][0-9]{0,8}")


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
    return f"override '{_cut(text)}'"


def parse_overrides(words: Sequence[str]) -> tuple[tuple[Override, ...], list[Fault]]:
    """The overrides, and a fault for every word that is not KEY=VALUE or contradicts another one."""
    overrides: dict[tuple[str, ...], Override] = {}
    faults = []
    for word in words:
        key, equals, text = word.partition("=")
        parts = tuple(part.strip() for part in key.split("."))
        source = _source(word)
        if not equals or not all(parts):
            message = f"expected KEY=VALUE such as training.epochs=50, found '{shortened(word)}'"
            faults.append(Fault(message, file=source))
            continue
        try:
            override = Override(word, parts, yaml12.parse_value(text, source))
        except ConfigError as error:
            faults.extend(error.faults)
            continue
        first = overrides.setdefault(parts, override)
        if json.dumps(first.value) != json.dumps(override.value):
            message = f"expected one value, found two: '{_cut(first.text)}' and '{_cut(word)}'"
            faults.append(Fault(message, parts, file=source))
    return tuple(overrides.values()), faults


def apply_overrides(plain: Mapping[str, Any], overrides: Sequence[Override]) -> tuple[dict[str, Any], list[Fault]]:
    """A changed deep copy, and a fault for every override that leads nowhere.

    Values are left to the check of the whole. The order of the overrides does not matter: a mapping is set before
    what is in it, and its kind before the rest, which depends on it.
    """
    changed = copy.deepcopy(dict(plain))
    in_order = sorted(overrides, key=lambda override: ["" if part == "kind" else part for part in override.path])
    given = {override.path for override in overrides}
    faults = [fault for override in in_order if (fault := _set(changed, override, given))]
    return changed, sorted(faults, key=lambda fault: [override.source for override in overrides].index(fault.file))


def _set(changed: dict[str, Any], override: Override, given: Set[tuple[str, ...]]) -> Fault | None:
    """``given``: the paths of all overrides."""
    place: Any = changed
    for depth, name in enumerate(override.path):
        at = override.path[:depth]
        key: str | int = int(name) if isinstance(place, list) and INDEX.fullmatch(name) else name
        present: dict[Any, Any] = dict(enumerate(place)) if isinstance(place, list) else place
        known: dict[Any, Any] | None = present if isinstance(place, list) else keys_at(at, place)
        last = depth == len(override.path) - 1
        new_arm = at == ("arms",) and not last
        if key not in present and (new_arm or (known is not None and key not in known)):
            return _unknown(override, depth, list({**(known or {}), **present}))
        if last:
            _drop_strangers(at, place, key, override.value)
            place[key] = copy.deepcopy(override.value)
            return None
        path = override.path[: depth + 1]
        inside = _opened(path, present.get(key), {} if known is None else known.get(key))
        if not isinstance(inside, (dict, list)):
            if not kinds_at(path) or override.path != (*path, "kind") or path in given:
                return _without_keys(override, path, inside)
            inside = {}  # a kind takes the place of a plain value: a schedule that of a learning rate
        place[key] = place = inside
    return None


def _without_keys(override: Override, path: tuple[str, ...], value: Any) -> Fault:
    where, name = ".".join(path), override.path[len(path)]
    message = f"unknown path: {where} is {found(value)}, without keys"
    if (kinds := kinds_at(path)) and (taking := [kind for kind in kinds.names if name in kinds.get(kind).model_fields]):
        message += f"; with a kind it has keys: add '{where}.kind={taking[0]}'"
    return Fault(message, override.path[: len(path) + 1], file=override.source)


def _opened(path: tuple[str, ...], stated: Any, default: Any) -> Any:
    """What an override goes into: the value that the config states, or a copy of its default."""
    if path == ("seeds",) and not isinstance(stated, list):  # an item of a number or a range of seeds
        try:
            return list(checked_seeds(default if stated is None else stated))
        except PydanticCustomError:
            return stated
    return copy.deepcopy(default) if stated is None else stated


def _drop_strangers(at: tuple[str, ...], place: Any, key: str | int, value: Any) -> None:
    """A new kind takes what it also has from the old one; the rest goes with the old one."""
    kinds = kinds_at(at)
    if key == "kind" and kinds and value in kinds.names and value != place.get("kind", kinds.default):
        for stranger in kinds.strangers(place, value):
            del place[stranger]


def _unknown(override: Override, depth: int, keys: Sequence[str | int]) -> Fault:
    names = [str(key) for key in keys]
    path, name = override.path[: depth + 1], override.path[depth]
    where = ".".join(path[:-1]) or "the config"
    message = f"unknown path: {where} has {', '.join(names) or 'no keys'}; found '{shortened(name)}'"
    suggestion = nearest(name, names)
    if path[:-1] == ("arms",) and suggestion is None:
        message += f"; to add it: '{_cut(_in_one(override, depth + 1))}'"
    return Fault(message, path, suggestion, file=override.source)


def _in_one(override: Override, depth: int) -> str:
    """The same override with one mapping for what lies deeper than ``depth``."""
    value = override.value
    for part in reversed(override.path[depth:]):
        value = {part: value}
    return f"{'.'.join(override.path[:depth])}={show(value)}"


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
