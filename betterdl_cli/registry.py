"""Find techniques, datasets, models and readers by folder: one file each, its name is its kind.

A leaf is the one class in its module that derives from the folder's base class. Only the leaf asked for is imported.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from betterdl_cli.errors import nearest, shortened

Leaf = TypeVar("Leaf")


class UnknownKindError(LookupError):
    """No leaf of this name. ``suggestion`` is the nearest valid one, or None."""

    def __init__(self, what: str, name: str, known: tuple[str, ...]) -> None:
        self.suggestion = nearest(name, known)
        article = "an" if what[0] in "aeiou" else "a"
        super().__init__(f"expected the name of {article} {what} ({', '.join(known)}), found '{shortened(name)}'")


@dataclass(frozen=True)
class Registry(Generic[Leaf]):
    """The leaves of one folder. ``what`` is the singular noun for messages."""

    package: str
    base: type[Leaf]
    what: str

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All kinds, sorted; found without importing any of them."""
        folder = importlib.import_module(self.package)
        found = (module.name for module in pkgutil.iter_modules(folder.__path__))
        return tuple(sorted(name for name in found if name != "base" and not name.startswith("_")))

    def get(self, name: str) -> type[Leaf]:
        """The class of a kind. Raises :class:`UnknownKindError`."""
        if name not in self.names:
            raise UnknownKindError(self.what, name, self.names)
        module = importlib.import_module(f"{self.package}.{name}")
        leaves = [
            item
            for item in vars(module).values()
            if inspect.isclass(item) and issubclass(item, self.base) and item.__module__ == module.__name__
        ]
        if len(leaves) != 1:
            raise TypeError(f"{module.__name__}: expected one {self.base.__name__} class, found {len(leaves)}")
        return leaves[0]

    def __iter__(self) -> Iterator[tuple[str, type[Leaf]]]:
        return ((name, self.get(name)) for name in self.names)


@dataclass(frozen=True)
class Card:
    """The documentation of a leaf, read from its module's docstring.

    The first paragraph is one sentence; every section after it begins with ``Title:`` on a line of its own.
    """

    summary: str
    sections: dict[str, str]

    @classmethod
    def of(cls, leaf: type) -> Card:
        text = inspect.getdoc(inspect.getmodule(leaf)) or ""
        head, *rest = re.split(r"^([A-Z][A-Za-z ]+):$", text, flags=re.MULTILINE)
        return cls(
            summary=" ".join(head.split()),
            sections={title: inspect.cleandoc(body).strip() for title, body in zip(rest[::2], rest[1::2], strict=True)},
        )
