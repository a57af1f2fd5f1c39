from __future__ import annotations

import itertools
import math
import pathlib
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from betterdl_cli.config import yaml12
from betterdl_cli.errors import ConfigError, Fault


def faults_of(text: str) -> tuple[Fault, ...]:
    with pytest.raises(ConfigError) as caught:
        yaml12.parse(text, "c.yaml")
    return caught.value.faults


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        yaml12.parse(text, "c.yaml")
    return str(caught.value)


def value_refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        yaml12.parse_value(text, "--set a")
    return str(caught.value)


def read_refusal(path: pathlib.Path) -> str:
    with pytest.raises(ConfigError) as caught:
        yaml12.read(path)
    return str(caught.value)


def exact(value: Any) -> str:
    return repr(value)  # tells 1 from 1.0 and True, and 0.0 from -0.0


# --- scalars of the core schema


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("1e+2", 100.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-2.50", -2.5),
        ("+.5e1", 5.0),
        ("1e-999", 0.0),
        ("-0.0", -0.0),
        ("10", 10),
        ("010", 10),
        ("+7", 7),
        ("-0", 0),
        ("0o17", 15),
        ("0x1F", 31),
        ("0xff", 255),
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("false", False),
        ("False", False),
        ("FALSE", False),
        ("null", None),
        ("Null", None),
        ("NULL", None),
        ("~", None),
    ],
)
def test_plain_scalar_of_the_core_schema(text: str, expected: object) -> None:
    assert exact(yaml12.parse_value(text, "v")) == exact(expected)


@pytest.mark.parametrize(
    "text",
    [
        *("no", "No", "on", "yes", "off", "y", "12:30:45", "12:30", "2024-05-01", "2024-05-01T10:00:00Z"),
        *("tRUE", "nULL", "none", "1_000", "0b11", "0o8", "0xG", "-0x1F", "1e", "e3", ".", "+"),
        *("1.2.3", "1,2", "inf", "nan", "-.nan", "<<", "=", "٣", "１"),
    ],
)
def test_plain_scalar_that_is_text(text: str) -> None:
    assert yaml12.parse_value(text, "v") == text


@pytest.mark.parametrize("text", ["'1'", '"1"', "|-\n  1", ">-\n  1"])
def test_quoted_or_block_scalar_is_text(text: str) -> None:
    assert yaml12.parse_value(text, "v") == "1"


def test_empty_value_is_null() -> None:
    assert yaml12.parse("a:\nb: ''\n", "c.yaml").data == {"a": None, "b": ""}


def test_merge_key_is_an_ordinary_key() -> None:
    assert yaml12.parse("<<: {a: 1}", "c.yaml").data == {"<<": {"a": 1}}


@pytest.mark.parametrize(
    "number", [".inf", "-.inf", "+.Inf", ".INF", ".nan", ".NaN", ".NAN", "1e999", "-1E+400", "9" * 400 + ".0"]
)
def test_non_finite_number_is_refused(number: str) -> None:
    (fault,) = faults_of(f"a:\n  b: [0, {number}]")
    shown = number if len(number) <= 40 else number[:40] + "..."
    assert str(fault) == f"c.yaml:2:10: a.b.1: expected a finite number, found {shown}"


def test_integer_of_100_digits_is_accepted() -> None:
    assert yaml12.parse_value("9" * 100, "v") == 10**100 - 1


@pytest.mark.parametrize("number", ["1" * 101, "-" + "1" * 101, "0x" + "f" * 101, "0o" + "7" * 101])
def test_integer_of_101_digits_is_refused(number: str) -> None:
    expected = "c.yaml:1:4: a: expected a number of at most 100 digits, found 101 digits"
    assert refusal(f"a: {number}") == expected


def test_integer_beyond_the_limit_of_python_is_refused() -> None:
    assert "found 5000 digits" in refusal("a: " + "1" * 5000)


def test_surrogate_escape_is_refused() -> None:
    expected = r"c.yaml:1:4: a: expected text, found half of a surrogate pair, '\ud800'"
    assert refusal(r'a: "x\ud800"') == expected


@pytest.mark.parametrize("text", [r'"\UFFFFFFFF"', r'"\U00110000"', "%YAML 1." + "9" * 5000 + "\n---\na: 1"])
def test_number_that_pyyaml_cannot_convert_is_refused(text: str) -> None:
    assert "out of range" in refusal(text)


# --- what is refused: keys, tags, aliases, documents


def test_duplicate_key() -> None:
    assert refusal("x: 1\ny: 2\nx: 3\n") == "c.yaml:3:1: x: duplicate key 'x', first at line 1"


def test_duplicate_key_in_nested_mapping() -> None:
    text = "a:\n  - b: 1\n    c: 2\n    b: 3\nd: {e: 1, e: 2}\n"
    assert refusal(text).splitlines() == [
        "c.yaml:4:5: a.0.b: duplicate key 'b', first at line 2",
        "c.yaml:5:11: d.e: duplicate key 'e', first at line 5",
    ]


def test_duplicate_key_in_different_quotes() -> None:
    assert refusal("x: 1\n'x': 2") == "c.yaml:2:1: x: duplicate key 'x', first at line 1"


def test_same_key_in_different_mappings() -> None:
    assert yaml12.parse("a: {x: 1}\nb: {x: 1}", "c.yaml").data == {"a": {"x": 1}, "b": {"x": 1}}


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("8", "8; in quotes it is a name"),
        ("1.5", "1.5; in quotes it is a name"),
        ("true", "true; in quotes it is a name"),
        ("~", "~"),
        ("? \n", "nothing"),
        ("[1]", "a list"),
        ("{b: 1}", "a mapping"),
        ("? - 1\n", "a list"),
    ],
)
def test_key_that_is_no_text(key: str, found: str) -> None:
    (fault,) = faults_of(f"{key}: 1")
    assert fault.message == f"expected a name, found {found}"


def test_key_that_is_no_text_in_a_nested_mapping() -> None:
    assert str(faults_of("a:\n  1: x")[0]).startswith("c.yaml:2:3: a: expected a name, found 1")


def test_key_with_spaces_is_text() -> None:
    assert yaml12.parse("two words: 1", "c.yaml").data == {"two words": 1}


def test_key_named_question_mark_keeps_its_position() -> None:
    assert yaml12.parse('"?": 1\nb: 2', "c.yaml").locate(("?",)) == (1, 6)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("!!python/object/apply:os.system ['touch x']", "!!python/object/apply:os.system"),
        ("!!python/name:os.system", "!!python/name:os.system"),
        ("!foo 1", "!foo"),
        ("!foo {b: 1}", "!foo"),
        ("!foo [1]", "!foo"),
        ("!!str 1", "!!str"),
        ("! 1", "!"),
        ("!<tag:x,1:y> 1", "tag:x,1:y"),
        ("!a%0Ab 1", r"!a\nb"),
    ],
)
def test_tag_is_refused(value: str, found: str) -> None:
    assert refusal(f"a: {value}") == f"c.yaml:1:4: a: tags are not allowed, found {found}"


def test_no_code_is_executed(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "made-by-yaml"
    refusal(f"a: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{target}']]")
    assert not target.exists()


def test_alias_is_refused() -> None:
    assert refusal("a: &x 1\nb: [*x]").splitlines() == [
        "c.yaml:1:4: a: anchors are not allowed, found &x; leave it out",
        "c.yaml:2:5: b.0: aliases are not allowed, found *x; write the value out",
    ]


def test_alias_as_key_is_refused() -> None:
    assert refusal("*x : 1") == "c.yaml:1:1: aliases are not allowed, found *x; write the value out"


def test_alias_bomb_is_refused() -> None:
    names = [f"n{level}" for level in range(60)]
    lines = ["n0: &n0 [x, x]"]
    lines += [f"{new}: &{new} [*{old}, *{old}]" for old, new in itertools.pairwise(names)]
    assert "aliases are not allowed" in refusal("\n".join(lines))


def test_second_document_is_refused() -> None:
    expected = "c.yaml:3:1: expected one document, found a second one"
    assert refusal("---\na: 1\n---\nb: 2\n") == expected


def test_document_with_start_and_end_markers() -> None:
    assert yaml12.parse("%YAML 1.2\n---\na: 1\n...\n", "c.yaml").data == {"a": 1}


def test_all_faults_are_reported_together() -> None:
    text = "a: 1\na: .inf\n2: x\nb: !t 1\nc: *d\ne: &f 1\n"
    assert [fault.line for fault in faults_of(text)] == [2, 2, 3, 4, 5, 6]


def test_faults_before_a_syntax_error_are_reported_with_it() -> None:
    first, second = faults_of("a: .inf\nb: [")
    assert first.path == ("a",)
    assert second.message.startswith("invalid YAML: ")


def test_number_of_reported_faults_is_limited() -> None:
    faults = faults_of("a: 1\n" * 1000)
    assert len(faults) == yaml12.MAX_FAULTS + 1
    assert faults[-1].message == "stopped after 100 faults"


def test_fault_carries_file_path_and_position() -> None:
    (fault,) = faults_of("a:\n- b: .nan")
    assert fault == Fault("expected a finite number, found .nan", ("a", 0, "b"), None, "c.yaml", 2, 6)


# --- limits


@pytest.mark.parametrize("unit", ["[", "{", "- ", "? ", "[[", "{a: ", "[{"])
def test_5000_nested_collections_are_refused(unit: str) -> None:
    assert "expected at most 50 levels of nesting" in refusal(unit * 5000)


def test_5000_nested_and_closed_lists_are_refused() -> None:
    assert "expected at most 50 levels of nesting" in refusal("a: " + "[" * 5000 + "]" * 5000)


def test_1000_nested_block_mappings_are_refused() -> None:
    assert refusal("".join(" " * level + "a:\n" for level in range(1000))).startswith("c.yaml:51:51: ")


def test_50_levels_are_accepted() -> None:
    assert yaml12.parse_value("[" * 50 + "]" * 50, "v")


def test_51_levels_are_refused() -> None:
    assert "levels of nesting" in value_refusal("[" * 51 + "]" * 51)


def test_number_of_nodes_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml12, "MAX_NODES", 5)
    assert yaml12.parse("a: [1, 2]", "c.yaml").data == {"a": [1, 2]}
    assert refusal("a: [1, 2, 3]") == "c.yaml:1:11: a.2: expected at most 5 names and values, found more"


def test_text_of_more_than_1_mib_is_refused() -> None:
    text = "a: 1 #" + "é" * (1 << 19)
    assert refusal(text) == "c.yaml: expected at most 1 MiB of text, found more"


# --- syntax errors and the top level


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n\tb: 1", "2:1: invalid YAML: found a tab; use spaces"),
        ("a: b: c", "1:5: invalid YAML: unexpected ':'; check the indentation, or put the text in quotes"),
        (
            "x: 1\na: [1, 2\nb: 3",
            "3:2: invalid YAML: expected ',' or ']', but got ':' (in what starts at line 2)",
        ),
        (
            'a: "x\nb: 1',
            "2:5: invalid YAML: found unexpected end of the text (in what starts at line 1)",
        ),
        (
            "a: @x",
            "1:4: invalid YAML: found character '@' that cannot start a value; put the text in quotes",
        ),
        ("a: [1,", "1:7: invalid YAML: expected a value, but found the end"),
        (
            "a: 1\n b: 2",
            "2:3: invalid YAML: unexpected ':'; check the indentation, or put the text in quotes",
        ),
        (
            "a:\n  b: 1\n c: 2",
            "3:2: invalid YAML: expected the end of the block, but found '<block mapping start>' "
            "(in what starts at line 1)",
        ),
        ("a: !e!x 1", "1:4: invalid YAML: found undefined tag handle '!e!'"),
    ],
)
def test_syntax_error(text: str, expected: str) -> None:
    assert refusal(text) == f"c.yaml:{expected}"


@pytest.mark.parametrize("text", ["", "  \n\n", "# only a comment\n", "---\n", "--- # x\n", "\ufeff"])
def test_empty_text(text: str) -> None:
    assert refusal(text) == "c.yaml: the file is empty; expected a mapping of names to values"


@pytest.mark.parametrize(
    ("text", "found"),
    [("- a\n- b", "a list"), ("hello", '"hello"'), ("12", "12"), ("true", "true"), ("null", "null")],
)
def test_top_level_that_is_no_mapping(text: str, found: str) -> None:
    assert refusal(text) == f"c.yaml:1:1: expected a mapping of names to values, found {found}"


def test_empty_mapping_is_a_mapping() -> None:
    assert yaml12.parse("{}", "c.yaml").data == {}


def test_control_character() -> None:
    expected = "c.yaml:2:4: expected text, found the unprintable character U+0000"
    assert refusal("a: 1\r\nb: \0") == expected


def test_lone_surrogate_in_the_text() -> None:
    assert "U+D800" in refusal("a: \ud800")


@pytest.mark.parametrize("text", ["a: 1", "a:  1 # c", "'a': 1", "{a: 1}", '{"a":1}', "? a\n: 1"])
def test_ways_to_write_a_mapping(text: str) -> None:
    assert yaml12.parse(text, "c.yaml").data == {"a": 1}


# --- positions

NESTED = """\
# a comment
model:
  layers:
    - units: 8
      rate: [0.1,  0.2]
    -   units: 16
seeds: {first: 1, "second": 2}
empty:
"""


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ((), (2, 1), (2, 1)),
        (("model",), (3, 3), (2, 1)),
        (("model", "layers"), (4, 5), (3, 3)),
        (("model", "layers", 0), (4, 7), (4, 7)),
        (("model", "layers", 0, "units"), (4, 14), (4, 7)),
        (("model", "layers", 0, "rate"), (5, 13), (5, 7)),
        (("model", "layers", 0, "rate", 1), (5, 20), (5, 20)),
        (("model", "layers", 1, "units"), (6, 16), (6, 9)),
        (("seeds",), (7, 8), (7, 1)),
        (("seeds", "first"), (7, 16), (7, 9)),
        (("seeds", "second"), (7, 29), (7, 19)),
        (("empty",), (8, 7), (8, 1)),
    ],
)
def test_position(path: tuple[str | int, ...], value: tuple[int, int], key: tuple[int, int]) -> None:
    document = yaml12.parse(NESTED, "c.yaml")
    assert document.locate(path) == value
    assert document.locate(path, key=True) == key


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        (("model", "absent"), False, (3, 3)),
        (("model", "absent", "deeper"), True, (2, 1)),
        (("model", "layers", 7, "units"), True, (3, 3)),
        (("model", "layers", 0, "absent"), True, (4, 7)),
        (("absent",), True, (2, 1)),
    ],
)
def test_position_of_an_absent_path_is_its_nearest_ancestor(
    path: tuple[str | int, ...], key: bool, expected: tuple[int, int]
) -> None:
    assert yaml12.parse(NESTED, "c.yaml").locate(path, key=key) == expected


def test_position_without_marks() -> None:
    assert yaml12.Document("c.yaml", {}).locate(("a",)) == (1, 1)


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_position_with_any_line_break(line_break: str) -> None:
    document = yaml12.parse(NESTED.replace("\n", line_break), "c.yaml")
    assert document.locate(("seeds", "second")) == (7, 29)


def test_position_after_a_byte_order_mark() -> None:
    assert yaml12.parse("\ufeffa: 1", "c.yaml").locate(("a",)) == (1, 4)


# --- files


def test_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes("name: é\nrate: 1e-3\n".encode())
    document = yaml12.read(path)
    assert document.source == str(path)
    assert document.data == {"name": "é", "rate": 0.001}


def test_read_accepts_crlf_and_byte_order_mark(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  - x y\r\n")
    assert yaml12.read(path).data == {"a": 1, "b": ["x y"]}


def test_read_missing_file_suggests_the_nearest_name(tmp_path: pathlib.Path) -> None:
    (tmp_path / "dropout.yaml").touch()
    (tmp_path / "other.txt").touch()
    path = tmp_path / "dropuot.yaml"
    assert read_refusal(path) == f"{path}: no such file (did you mean 'dropout.yaml'?)"


def test_read_missing_file_does_not_suggest_a_folder(tmp_path: pathlib.Path) -> None:
    (tmp_path / "dropout").mkdir()
    path = tmp_path / "dropuot"
    assert read_refusal(path) == f"{path}: no such file"


def test_read_in_a_missing_folder(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "nowhere" / "c.yaml"
    assert read_refusal(path) == f"{path}: no such file"


def test_read_below_a_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "c.yaml"
    assert read_refusal(path) == f"{path}: no such file"


def test_read_a_folder(tmp_path: pathlib.Path) -> None:
    assert read_refusal(tmp_path) == f"{tmp_path}: expected a file, found a folder"


def test_read_without_permission(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "open", refuse)  # chmod does not stop root
    path = tmp_path / "c.yaml"
    assert read_refusal(path) == f"{path}: the file cannot be read: Permission denied"


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_read_an_impossible_name(name: str) -> None:
    assert "the file cannot be read" in read_refusal(pathlib.Path(name))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ": the file is empty; expected a mapping of names to values"),
        (b"# x\n", ": the file is empty; expected a mapping of names to values"),
        (b"a: 1\nb: \xc3\xa9\xff", ":2:5: expected UTF-8 text, found the byte 0xff"),
        (b"\xef\xbb\xbfa: \xff", ":1:4: expected UTF-8 text, found the byte 0xff"),
        (b"a: \xed\xa0\x80", ":1:4: expected UTF-8 text, found the byte 0xed"),
        ("a: 1".encode("utf-16"), ": expected UTF-8 text, found UTF-16; save the file as UTF-8"),
        ("a: 1".encode("utf-16-le"), ":1:2: expected text, found the unprintable character U+0000"),
        (b"\x89PNG\r\n\x1a\n\0", ":1:1: expected UTF-8 text, found the byte 0x89"),
        (b"a: \x07", ":1:4: expected text, found the unprintable character U+0007"),
        (b"a: 1 #" + b"x" * (1 << 20), ": expected at most 1 MiB of text, found more"),
        (b"- 1", ":1:1: expected a mapping of names to values, found a list"),
        (b"a: 1\na: 2", ":2:1: a: duplicate key 'a', first at line 1"),
    ],
)
def test_read_refuses_content(tmp_path: pathlib.Path, content: bytes, expected: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    assert read_refusal(path) == f"{path}{expected}"


def test_read_a_file_of_exactly_1_mib(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"a: 1 #".ljust(1 << 20, b"x"))
    assert yaml12.read(path).data == {"a": 1}


# --- values of overrides


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no", "no"),
        ("[1,2]", [1, 2]),
        ("{rate: 0.4}", {"rate": 0.4}),
        ('{"a":[1,null]}', {"a": [1, None]}),
        ("''", ""),
        ("two words", "two words"),
        ("a: b", {"a": "b"}),
        (" 3 # three", 3),
    ],
)
def test_parse_value(text: str, expected: object) -> None:
    assert exact(yaml12.parse_value(text, "v")) == exact(expected)


@pytest.mark.parametrize("text", ["", "  ", "# x", "---"])
def test_parse_value_of_nothing(text: str) -> None:
    assert value_refusal(text) == "--set a: expected a value, found nothing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".inf", "expected a finite number, found .inf"),
        ("{r: 1e999}", "r: expected a finite number, found 1e999"),
        ("*x", "aliases are not allowed, found *x; write the value out"),
        ("!!python/name:os.system", "tags are not allowed, found !!python/name:os.system"),
        (
            "[",
            "invalid YAML: expected a value, but found the end",
        ),
    ],
)
def test_parse_value_refuses_without_a_line(text: str, expected: str) -> None:
    assert value_refusal(text) == f"--set a: {expected}"


# --- dump


def test_dump_is_block_style_in_the_order_of_the_data() -> None:
    data = {"b": [1, {"c": True, "a": None}], "a": {"é": 0.5}, "e": [], "m": {}}
    assert yaml12.dump(data) == ("b:\n- 1\n- c: true\n  a: null\na:\n  é: 0.5\ne: []\nm: {}\n")


@pytest.mark.parametrize(
    "text",
    [
        *("no", "on", "True", "null", "Null", "~", "1e-3", "1E5", "5.", ".5", "+1", "0x1F", "0o17"),
        *("010", "09", "12:30", "2024-05-01", ".inf", ".NaN", "1_000", "<<", "=", "-", "?", "*x"),
        *("&x", "!x", "é", "😀", "---", "...", "'", '"', "\\", "{a}", "[a]", "%a", "@a", "`a"),
        *("|", ">", "a:", ":", ","),
        *("", " x", "x ", "# c", "a: b", "a #b", "--- a", "- a", "a b " * 100, "a" * 300),
        *(
            "a\nb",
            "a\n",
            "\n",
            "\t",
            "a\r\nb",
            "\0",
            "\x7f",
            "\x85",
            "\xa0",
            "\u2028",
            "\ufeff",
            "\U0010ffff",
        ),
    ],
)
def test_dump_text_round_trips_as_value_and_key(text: str) -> None:
    data = {"value": text, text: [text]}
    assert yaml12.parse(yaml12.dump(data), "c.yaml").data == data


@pytest.mark.parametrize("text", ["no", "1e-3", "0x1F", "12:30", "", "null", "0o17", "010"])
def test_dump_quotes_text_that_looks_like_something_else(text: str) -> None:
    assert yaml12.dump({"a": text}) == f"a: '{text}'\n"


@pytest.mark.parametrize("number", [1e-07, 1e16, 5e-324, 1.7976931348623157e308, 0.1, -0.0, 3.0, 1e22, 123456789.123])
def test_dump_float_round_trips(number: float) -> None:
    text = yaml12.dump({"a": number})
    assert exact(yaml12.parse(text, "c.yaml").data) == exact({"a": number})
    assert exact(yaml.safe_load(text)) == exact({"a": number})


def test_dump_writes_no_alias_for_a_repeated_list() -> None:
    shared = [1]
    assert yaml12.dump({"a": shared, "b": shared}) == "a:\n- 1\nb:\n- 1\n"


def test_dump_does_not_fold_long_text() -> None:
    assert yaml12.dump({"a": "word " * 100 + "end"}).count("\n") == 1


def test_dump_writes_a_tuple_as_a_list() -> None:
    assert yaml12.dump({"a": (1, 2)}) == "a:\n- 1\n- 2\n"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 10**100, -(10**100), "\ud800", {"\udfff": 1}])
def test_dump_refuses_values_that_parse_refuses(value: object) -> None:
    with pytest.raises(ValueError):
        yaml12.dump({"a": value})


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, b"x", {1}, object(), pathlib.Path("x"), 1j])
def test_dump_refuses_what_is_not_plain_data(value: object) -> None:
    with pytest.raises(TypeError):
        yaml12.dump({"a": value})


def test_dump_refuses_data_that_contains_itself() -> None:
    data: list[object] = []
    data.append(data)
    with pytest.raises(ValueError):
        yaml12.dump(data)


# --- properties

texts = st.text() | st.text(alphabet=" \n\t\r\x85\u2028'\"\\:#-?,[]{}&*!|>%@`~=<.0123456789eExXoabn", max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**100) + 1, 10**100 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
yaml_pieces = st.sampled_from(
    [
        *"abc:-?[]{},#&*!|>'\"%@`~ \n\t\r\\01.e\x85\u2028\ufeff\0é",
        *("\n  ", "\n- ", ": ", "? ", "---\n", "...\n", "%YAML 1.1\n", "%TAG ! x\n"),
        *("<<", '"\\', "\\U", "!!", "null", ".inf", "1e999"),
    ]
)


@settings(deadline=None)
@given(st.dictionaries(texts, plain, max_size=5))
def test_dump_round_trips_any_plain_data(data: dict[str, Any]) -> None:
    assert exact(yaml12.parse(yaml12.dump(data), "c.yaml").data) == exact(data)


@settings(deadline=None)
@given(texts)
def test_yaml_1_1_reads_dumped_text_equally(text: str) -> None:
    assert yaml.safe_load(yaml12.dump({"a": text})) == {"a": text}


@settings(deadline=None, max_examples=300)
@given(st.text() | st.lists(yaml_pieces, max_size=30).map("".join))
@example('"\\U')
def test_random_text_raises_nothing_but_config_error(text: str) -> None:
    try:
        yaml12.parse(text, "c.yaml")
    except ConfigError as error:
        assert error.faults
        assert all("\n" not in fault.message for fault in error.faults)


@settings(deadline=None)
@given(st.text() | st.lists(yaml_pieces, max_size=30).map("".join))
def test_parse_value_of_random_text_is_plain_data_or_a_config_error(text: str) -> None:
    try:
        value = yaml12.parse_value(text, "v")
    except ConfigError as error:
        assert all(fault.line == 0 for fault in error.faults)
    else:
        assert exact(yaml12.parse_value(yaml12.dump(value), "v")) == exact(value)
