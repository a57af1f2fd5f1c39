"""Keras ``History.history`` as JSON: an object of equally long lists of numbers, as ``history.json`` of this tool.

Source:
    Keras documentation, callbacks.History. Files of Keras 1 and 2 say `acc` for `accuracy` and `lr`.
"""

from __future__ import annotations

import json
from typing import Any

from betterdl_cli.errors import shortened
from betterdl_cli.history import History
from betterdl_cli.readers.base import FormatError, Reader, keras_named


class KerasJson(Reader):
    @classmethod
    def read(cls, text: str) -> History | None:
        if not text.lstrip().startswith("{"):
            return None
        try:
            # an integer may be too large for a float, a float never is
            plain = json.loads(text, parse_int=float, object_pairs_hook=_different)
        except FormatError:
            raise
        except (ValueError, RecursionError) as error:
            raise FormatError(f"expected JSON, found a fault in it: {error}") from None
        if isinstance(plain.get("history"), dict):
            plain = plain["history"]
        columns = {name: values for name, values in plain.items() if isinstance(values, list)}
        if not columns:
            raise FormatError("expected lists of numbers per metric ({'loss': [...]}), found none in this JSON")
        return keras_named(columns)


def _different(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose reader would keep the last of two values under one key."""
    plain: dict[str, Any] = {}
    for name, value in pairs:
        if name in plain:
            raise FormatError(f"expected different names in the JSON, found '{shortened(name)}' twice")
        plain[name] = value
    return plain
