"""The only place that reads and writes YAML: plain data by the core schema of YAML 1.2, with positions.

Differences from what PyYAML does by itself (YAML 1.1): ``1e-3`` is a number, ``010`` is ten, ``no``, ``on``
and ``12:30`` are text, and ``<<`` is a key like any other. Tags, anchors, aliases, duplicate keys, keys that
are not text, non-finite numbers and several documents in one file are refused.
"""

from __future__ import annotations

import json
import math
import pathlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

# The pure Python parser on purpose: libyaml is absent from some installations, words its errors differently,
# and is not needed for files of this size. It is driven event by event, so nesting costs it no stack.
import yaml

from betterdl_cli.errors import ConfigError, Fault, Path, nearest

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_NODES = 100_000
MAX_DIGITS = 100
MAX_FAULTS = 100

Position = tuple[int, int]

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NON_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_TOO_LONG = f"expected at most {MAX_BYTES >> 20} MiB of text, found more"
_MAPPING = "a mapping of names to values"
_CORE_TAG = "tag:yaml.org,2002:"
_PLAINER = {
    "found character '\\t' that cannot start any token": "found a tab; use spaces",
    "that cannot start any token": "that cannot start a value; put the text in quotes",
    "mapping values are not allowed here": "unexpected ':'; check the indentation, or put the text in quotes",
    "the node content": "a value",
    "'<stream end>'": "the end",
    "end of stream": "end of the text",
    "<block end>": "the end of the block",
}


@dataclass(frozen=True)
class Document:
    """A file as plain data; ``marks`` holds where values (path, False) and keys (path, True) stand.

    ``refused`` are those of them that cannot be judged any further, because they were refused as YAML.
    """

    source: str
    data: Any
    marks: dict[tuple[Path, bool], Position] = field(default_factory=dict, repr=False, compare=False)
    refused: frozenset[tuple[Path, bool]] = field(default=frozenset(), repr=False, compare=False)

    def locate(self, path: Path, *, key: bool = False) -> Position:
        """Line and column, from 1, of the value at ``path``, or of its key (a list item has none).

        An absent path is located at its nearest existing ancestor, and at (1, 1) when there is none.
        """
        for length in range(len(path), -1, -1):
            part = path[:length]
            if key and (part, True) in self.marks:
                return self.marks[part, True]
            if (part, False) in self.marks:
                return self.marks[part, False]
        return (1, 1)

    def is_refused(self, path: Path, *, key: bool = False) -> bool:
        """Whether a fault there would only repeat one of the YAML: of this key or value, or of an item of this list."""
        items = {place[:-1] for place, _ in self.refused if place and isinstance(place[-1], int)}
        return (path, key) in self.refused or (path in items and not key)


def read(path: pathlib.Path, faults: list[Fault] | None = None) -> Document:
    """The config in a UTF-8 file, with or without a byte order mark; UTF-16 is refused.

    Raises ConfigError when the file cannot be read, and for whatever :func:`parse` refuses.
    """
    source = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        suggestion = nearest(path.name, _file_names(path.parent))
        raise ConfigError([Fault("no such file", (), suggestion, source)]) from None
    except IsADirectoryError:
        raise _refused("expected a file, found a folder", source) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise _refused(f"the file cannot be read: {reason}", source) from None
    return parse(_decoded(content, source), source, faults)


def parse(text: str, source: str, faults: list[Fault] | None = None) -> Document:
    """The config in a text; ``source`` is the name that messages show.

    Raises ConfigError, with all the faults that could be found together, up to MAX_FAULTS of them. Given ``faults``,
    those that leave the rest readable are appended to it instead; a refused value is then the text that stands for it.
    """
    builder = _Builder(text, source)
    data = builder.build(f"the file is empty; expected {_MAPPING}")
    if not isinstance(data, dict):
        if ((), False) not in builder.refused:
            builder.add(f"expected {_MAPPING}, found {_kind(data)}", (), builder.marks[(), False])
        raise ConfigError(builder.faults)
    if builder.faults and faults is None:
        raise ConfigError(builder.faults)
    if faults is not None:
        faults.extend(builder.faults)
    return Document(source, data, builder.marks, frozenset(builder.refused))


def parse_value(text: str, source: str) -> Any:
    """One value as it stands in an override, by the same rules and limits as in a file.

    Raises ConfigError, also for an empty text; its faults have no line, and paths that start at the value.
    """
    builder = _Builder(text, source)
    try:
        value = builder.build("expected a value, found nothing")
        if builder.faults:
            raise ConfigError(builder.faults)
        return value
    except ConfigError as error:
        raise ConfigError([replace(fault, line=0, column=0) for fault in error.faults]) from None


def dump(data: Any) -> str:
    """Plain data as block style YAML that :func:`parse` reads back equal, types included (a tuple as a list).

    Text is also quoted, and floats are written, so that a YAML 1.1 reader such as ``yaml.safe_load`` agrees.
    Raises TypeError for anything but plain data with text keys, ValueError for plain data that parse refuses.
    """
    _refuse_unwritable(data, 0)
    # this wide, so that it never folds a long text
    style: dict[str, Any] = {"default_flow_style": False, "allow_unicode": True, "width": MAX_BYTES}
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, **style))


class _Builder:
    """Builds plain data from the events of one document and collects the faults on the way.

    Events, not PyYAML's nodes: nodes no longer show aliases, and composing them recurses without a limit.
    """

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.source = source
        self.faults: list[Fault] = []
        self.marks: dict[tuple[Path, bool], Position] = {}
        self.refused: set[tuple[Path, bool]] = set()
        self.nodes = 0
        self.depth = 0
        self.in_key = False
        self.unused = 0  # levels of values that are read but not part of the data: of a key twice, or no key
        self.loader: Any = None

    def add(self, message: str, path: Path, position: Position) -> None:
        """Note a fault; raises ConfigError at the last one worth showing."""
        self.faults.append(Fault(message, path, None, self.source, *position))
        if len(self.faults) == MAX_FAULTS:
            self.stop(f"stopped after {MAX_FAULTS} faults", (), position)

    def refuse(self, message: str, path: Path, position: Position) -> None:
        """Note a fault of a key or value that is then unknown."""
        self.add(message, path, position)
        if not self.unused:
            self.refused.add((path, self.in_key))

    def stop(self, message: str, path: Path = (), position: Position = (0, 0)) -> NoReturn:
        """Raise ConfigError with this fault and those noted before it."""
        raise ConfigError([*self.faults, Fault(message, path, None, self.source, *position)])

    def build(self, empty: str) -> Any:
        """The data of the only document; raises ConfigError, with ``empty`` as message when there is none.

        Faults that leave the rest readable are only noted.
        """
        if len(self.text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            self.stop(_TOO_LONG)
        if bad := yaml.SafeLoader.NON_PRINTABLE.search(self.text):
            found = f"expected text, found the unprintable character U+{ord(bad[0]):04X}"
            self.stop(found, (), _position(self.text, bad.start()))
        self.loader = yaml.SafeLoader(self.text)
        try:
            return self._document(empty)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark or self.loader.get_mark()
            self.stop(_syntax_message(error), (), _start(mark))
        except (ValueError, OverflowError):
            # PyYAML converts "\UFFFFFFFF" and %YAML 1.<5000 digits> without a check
            message = "invalid YAML: an escape or a version number is out of range"
            self.stop(message, (), _start(self.loader.get_mark()))

    def _document(self, empty: str) -> Any:
        self.loader.get_event()  # the start of the stream
        if isinstance(self.loader.get_event(), yaml.StreamEndEvent):
            self.stop(empty)
        event = self.loader.get_event()
        if event.start_mark.index == event.end_mark.index and isinstance(event, yaml.ScalarEvent):
            self.stop(empty)  # only "---"
        data = self._value(event, ())
        self.loader.get_event()  # the end of the document
        event = self.loader.get_event()
        if not isinstance(event, yaml.StreamEndEvent):
            self.stop("expected one document, found a second one", (), _start(event.start_mark))
        return data

    def _value(self, event: Any, path: Path) -> Any:
        if not self.unused:
            self.marks[path, False] = _start(event.start_mark)
        return self._node(event, path)

    def _node(self, event: Any, path: Path) -> Any:
        position = _start(event.start_mark)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.stop(f"expected at most {MAX_NODES} names and values, found more", path, position)
        if isinstance(event, yaml.AliasEvent):
            name = f"*{_shown(str(event.anchor))}"
            self.refuse(f"aliases are not allowed, found {name}; write the value out", path, position)
            return name
        if event.anchor is not None:
            self.add(f"anchors are not allowed, found &{_shown(event.anchor)}; leave it out", path, position)
        if event.tag is not None:
            found = f"!!{event.tag.removeprefix(_CORE_TAG)}" if event.tag.startswith(_CORE_TAG) else event.tag
            self.refuse(f"tags are not allowed, found {_shown(found)}", path, position)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if self.depth == MAX_DEPTH:
            self.stop(f"expected at most {MAX_DEPTH} levels of nesting, found more", path, position)
        self.depth += 1
        build = self._mapping if isinstance(event, yaml.MappingStartEvent) else self._list
        data = build(path)
        self.depth -= 1
        return data

    def _list(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self.loader.get_event(), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := self.loader.get_event(), yaml.MappingEndEvent):
            key = self._key(event, path)
            child = (*path, "?" if key is None else key)
            position = _start(event.start_mark)
            if key in lines:
                self.add(f"duplicate key '{_shown(key)}', first at line {lines[key]}", child, position)
            used = key is not None and key not in lines
            self.unused += not used
            if not self.unused:
                self.marks[child, True] = position
            value = self._value(self.loader.get_event(), child)
            self.unused -= not used
            if key is not None:
                values.setdefault(key, value)
                lines.setdefault(key, position[0])
        return values

    def _key(self, event: Any, path: Path) -> str | None:
        """The key, or None after a fault for a key that is not text."""
        if isinstance(event, yaml.ScalarEvent):
            self.in_key = True
            key = self._node(event, (*path, _SURROGATE.sub("?", event.value)))
            self.in_key = False
            if isinstance(key, str):
                return key
        else:
            self.unused += 1
            key = self._node(event, path)
            self.unused -= 1
        if not isinstance(event, yaml.AliasEvent):
            found = _kind(key) if isinstance(key, list | dict) else _shown(event.value) or "nothing"
            hint = "; in quotes it is a name" if isinstance(key, bool | int | float) else ""
            self.add(f"expected a name, found {found}{hint}", path, _start(event.start_mark))
        if not self.unused:
            self.refused.add((path, False))
        return None

    def _scalar(self, event: Any, path: Path) -> Any:
        text: str = event.value
        try:
            if event.style is None:
                return _plain(text)
            if surrogate := _SURROGATE.search(text):  # from an escape
                raise ValueError(f"expected text, found half of a surrogate pair, {surrogate[0]!a}")
        except ValueError as error:
            self.refuse(str(error), path, _start(event.start_mark))
            return _SURROGATE.sub("?", text)
        return text


def _plain(text: str) -> str | int | float | bool | None:
    """An unquoted scalar by the core schema; raises ValueError for a number too long or not finite."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        digits = len(text.lstrip("+-").removeprefix("0o").removeprefix("0x"))
        if digits > MAX_DIGITS:
            raise ValueError(f"expected a number of at most {MAX_DIGITS} digits, found {digits} digits")
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    if _FLOAT.fullmatch(text) or _NON_FINITE.fullmatch(text):
        raise ValueError(f"expected a finite number, found {_shown(text)}")
    return text


def _refused(message: str, source: str, position: Position = (0, 0)) -> ConfigError:
    return ConfigError([Fault(message, (), None, source, *position)])


def _file_names(folder: pathlib.Path) -> Iterable[str]:
    try:
        return [entry.name for entry in folder.iterdir() if entry.is_file()]
    except OSError:
        return []


def _decoded(content: bytes, source: str) -> str:
    if len(content) > MAX_BYTES:
        raise _refused(_TOO_LONG, source)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _refused("expected UTF-8 text, found UTF-16; save the file as UTF-8", source)
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        message = f"expected UTF-8 text, found the byte 0x{content[error.start]:02x}"
        raise _refused(message, source, _position(before, len(before))) from None


def _start(mark: Any) -> Position:
    return (mark.line + 1, mark.column + 1)


def _position(text: str, index: int) -> Position:
    breaks = [match.end() for match in _LINE_BREAK.finditer(text, 0, index)]
    return (len(breaks) + 1, index - (breaks[-1] if breaks else 0) + 1)


def _syntax_message(error: yaml.MarkedYAMLError) -> str:
    message = f"invalid YAML: {error.problem}"
    for technical, plainer in _PLAINER.items():
        message = message.replace(technical, plainer)
    begin, end = error.context_mark, error.problem_mark
    if begin and end and begin.line != end.line:
        return f"{message} (in what starts at line {begin.line + 1})"
    return message


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else _shown(json.dumps(value, ensure_ascii=False))


def _shown(text: str) -> str:
    """A text from the file as part of a message: on one line, without control characters, not too long."""
    plain = text if text.isprintable() else ascii(text)[1:-1]
    return plain if len(plain) <= 40 else f"{plain[:40]}..."


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # PyYAML's other styles lose \x85 and fold line breaks; double quotes escape them
        style = None if text.isprintable() else '"'
        return self.represent_scalar(f"{_CORE_TAG}str", text, style)


_Dumper.add_representer(str, _Dumper.represent_text)
# The numbers of YAML 1.2 beside those of 1.1, so that a text that looks like either is quoted
_Dumper.add_implicit_resolver(
    f"{_CORE_TAG}float", re.compile(f"(?:{_INT.pattern}|{_FLOAT.pattern})\\Z"), list("-+.0123456789")
)


def _refuse_unwritable(data: Any, depth: int) -> None:
    """Raise TypeError or ValueError for data that dump would write so that parse refuses or changes it."""
    kind = type(data)
    if kind in (dict, list, tuple):
        if depth == MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
        for item in [*data, *data.values()] if kind is dict else data:
            _refuse_unwritable(item, depth + 1)
        if kind is dict and not all(type(key) is str for key in data):
            raise TypeError("a key is not text")
    elif kind is float and not math.isfinite(data):
        raise ValueError(f"{data} is not a finite number")
    elif kind is int and abs(data) >= 10**MAX_DIGITS:
        raise ValueError(f"an integer of more than {MAX_DIGITS} digits")
    elif kind is str and _SURROGATE.search(data):
        raise ValueError(f"half of a surrogate pair in {data!a}")
    elif kind not in (float, int, str, bool, type(None)):
        raise TypeError(f"{kind.__name__} is not plain data")
