from __future__ import annotations

import importlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import click
import pytest
from shell import bdl

from betterdl_cli import __version__
from betterdl_cli import cli as cli_module
from betterdl_cli.config import yaml12
from betterdl_cli.datasets.base import DATASETS
from betterdl_cli.errors import BdlError, ConfigError, Fault, UsageError
from betterdl_cli.models.base import MODELS
from betterdl_cli.techniques.base import TECHNIQUES

Write = Callable[..., pathlib.Path]


def process(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "betterdl_cli", *words]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment}, timeout=60)


# ---- help ----


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_every_command_with_a_line_about_it(option: str) -> None:
    result = bdl(option)
    assert (result.code, result.err) == (0, "")
    for name, line in cli_module.COMMANDS.items():
        assert f"  {name} " in result.out
        assert line in result.out


@pytest.mark.parametrize("name", cli_module.COMMANDS)
def test_command_has_help_of_its_own_and_the_same_line(name: str) -> None:
    command = importlib.import_module(f"betterdl_cli.commands.{name}").command
    assert command.short_help == cli_module.COMMANDS[name]
    result = bdl(name, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: bdl {name} ")


def test_every_file_of_commands_is_a_command() -> None:
    folder = pathlib.Path(cli_module.__file__).parent / "commands"
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(cli_module.COMMANDS)


def test_without_a_command_the_help_is_shown() -> None:
    result = bdl()
    assert result.out + result.err == bdl("--help").out  # where, and with which exit code, depends on click's version


def test_version() -> None:
    assert bdl("--version").out == f"bdl, version {__version__}\n"


# ---- completion ----


@pytest.mark.parametrize(
    ("shell", "fragment"),
    [
        ("bash", "complete -o nosort -F _bdl_completion bdl"),
        ("zsh", "#compdef bdl"),
        ("fish", "complete --no-files --command bdl"),
    ],
)
def test_completion_script_of_a_shell_says_how_to_install_it(shell: str, fragment: str) -> None:
    result = bdl("completion", shell)
    assert (result.code, result.err) == (0, "")
    assert fragment in result.out
    last = result.out.strip().split("\n")[-1]
    assert last.startswith("# ")
    assert f"bdl completion {shell}" in last


def test_completion_script_for_bash_is_valid(here: pathlib.Path) -> None:
    (here / "script").write_text(bdl("completion", "bash").out)
    assert subprocess.run(["bash", "-n", "script"], capture_output=True).stderr == b""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_script_of_another_shell_is_valid(here: pathlib.Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (here / "script").write_text(bdl("completion", shell).out)
    assert subprocess.run([shell, "-n", "script"], capture_output=True).stderr == b""


def test_completion_completes_commands() -> None:
    answer = process(_BDL_COMPLETE="bash_complete", COMP_WORDS="bdl l", COMP_CWORD="1")
    assert answer.stdout.decode().split() == ["plain,list", "plain,ls"]


# ---- list ----


def test_list_shows_everything_with_techniques_by_area() -> None:
    out = bdl("list").out
    titles = [line for line in out.split("\n") if line and line[0] != " "]
    assert titles == [
        "techniques for better learning",
        "techniques for better generalisation",
        "datasets",
        "models",
        "The card of one: bdl list techniques dropout",
    ]
    for name in (*TECHNIQUES.names, *DATASETS.names, *MODELS.names):
        assert f"\n  {name} " in out
    learning, generalisation = out.split("techniques for better generalisation")
    assert "batch_norm" in learning
    assert "dropout" in generalisation


def test_list_of_one_kind() -> None:
    out = bdl("list", "models").out
    assert out.startswith("models\n  cnn  Convolutional network for images: ")
    assert "dropout" not in out


def test_list_as_json() -> None:
    document = bdl("list", "--json").json
    assert document["schema"] == "bdl.catalogue/1"
    assert [card["name"] for card in document["techniques"]] == list(TECHNIQUES.names)
    assert set(document) == {"schema", "techniques", "datasets", "models"}
    assert set(bdl("list", "datasets", "--json").json) == {"schema", "datasets"}


def test_card_of_a_technique(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out = bdl("list", "dropout").out
    assert out == bdl("list", "techniques", "dropout").out
    assert out.startswith("dropout (better generalisation)\nDropout: in training, zero a random share")
    assert "  rate: number, > 0, < 1, default null: share of values dropped (0.5 if none is given)\n" in out
    assert "\nWhen it hurts\n" in out


def test_ranges_of_a_card_are_written_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out = bdl("list", "make_circles").out
    assert "  n_samples: integer, ≥ 4, ≤ 10000000, default 1000: rows, half of them per class\n" in out
    assert "≤ 4294967295, default 1: seed of the points\n" in out


def test_types_of_a_card_are_words() -> None:
    assert "  hidden: list of integers, default [50]: units of each" in bdl("list", "mlp").out
    assert "  restore_best_weights: true or false, default false: " in bdl("list", "early_stopping").out
    assert "  where: input | hidden, default input: " in bdl("list", "gaussian_noise").out


@pytest.mark.parametrize(("columns", "widest"), [(40, 40), (400, 100), (5, 44)])  # the last line is a command
def test_cards_are_as_wide_as_the_terminal_up_to_what_reads_well(
    monkeypatch: pytest.MonkeyPatch, columns: int, widest: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = [*bdl("list").out.splitlines()[:-1], *bdl("list", "dropout").out.splitlines()]
    assert max(map(len, lines)) <= widest


def test_card_without_parameters_says_so() -> None:
    assert "\nParameters\n  none\n" in bdl("list", "digits").out


def test_card_as_json() -> None:
    card = bdl("list", "lr_schedule", "--json").json
    assert (card["schema"], card["name"], card["area"]) == ("bdl.card/1", "lr_schedule", "better learning")
    assert card["parameters"][0] == {
        "name": "kind",
        "type": "plateau",
        "range": "",
        "required": True,
        "default": None,
        "description": "plateau: cut the rate when the monitored metric stalls",
    }
    assert card["parameters"][2]["range"] == "> 0, < 1"


# ---- show ----


def test_show_writes_every_default_in_a_form_that_is_read_again(here: pathlib.Path, write: Write) -> None:
    result = bdl("show", write(), "seeds=2")
    assert (result.code, result.err) == (0, "")
    shown = yaml12.parse(result.out, "shown").data
    assert (shown["data"]["factor"], shown["training"]["optimizer"]["momentum"], shown["seeds"]) == (0.8, 0.0, [0, 1])
    (here / "shown.yaml").write_text(result.out, encoding="utf-8")
    assert bdl("show", "shown.yaml").out == result.out


def test_show_as_json_is_the_same_with_a_schema(write: Write) -> None:
    document = bdl("show", write(), "--json").json
    assert document.pop("schema") == "bdl.config/1"
    assert document == yaml12.parse(bdl("show", "c.yaml").out, "shown").data


# ---- validate ----


def test_validate_names_the_arms_of_a_valid_config(write: Write) -> None:
    result = bdl("validate", write("rate: 0.2", "rate: [0.2, 0.5]"))
    assert (result.code, result.err) == (0, "")
    assert result.out == "c.yaml: valid; arms: control, dropout-rate-0.2, dropout-rate-0.5; seeds: 3\n"


def test_validate_goes_on_after_an_invalid_file(here: pathlib.Path, write: Write) -> None:
    (here / "bad.yaml").write_text("name: t\n")
    result = bdl("validate", "bad.yaml", write())
    assert result.code == 2
    assert result.out == "c.yaml: valid; arms: control, dropout; seeds: 3\n"
    assert result.err == (
        "bad.yaml:1:1: data: required key is missing; expected a mapping with the kind of the dataset "
        "(bdl list datasets) and its parameters\n"
        "bad.yaml:1:1: model: required key is missing; expected a mapping with the kind of the model "
        "(bdl list models) and its parameters\n"
    )


def test_validate_as_json(write: Write) -> None:
    assert bdl("validate", write(), "--json").json == {"schema": "bdl.validation/1", "valid": True, "errors": []}


def test_faults_as_json(write: Write) -> None:
    result = bdl("validate", write("dropout:", "droput:", "seeds: 3", "seeds: 0"), "no.yaml", "--json")
    assert (result.code, result.err) == (2, "")
    assert not result.json["valid"]
    misspelt, seeds, missing = result.json["errors"]
    assert misspelt["message"].startswith("expected the name of a technique (")
    del misspelt["message"]
    assert misspelt == {
        "file": "c.yaml", "line": 6, "column": 3, "path": "techniques.droput", "suggestion": "dropout"
    }  # fmt: skip
    assert seeds == {
        "file": "c.yaml",
        "line": 7,
        "column": 8,
        "path": "seeds",
        "message": "expected at least one seed, found none",
        "suggestion": None,
    }
    assert (missing["file"], missing["line"], missing["column"], missing["path"]) == ("no.yaml", None, None, "")


# ---- how it ends ----


def ended_by(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], end: BaseException
) -> tuple[Any, str]:
    """Exit code and standard error of ``bdl`` when a command ends by this exception."""

    def raise_it(**_: Any) -> None:
        raise end

    monkeypatch.setattr(cli_module.cli, "main", raise_it)
    with pytest.raises(SystemExit) as caught:
        cli_module.main()
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("end", "code", "err"),
    [
        (BdlError("a run failed"), 1, "bdl: a run failed\n"),
        (UsageError("wrong"), 2, "bdl: wrong\n"),
        (UsageError("wrong:\n  this"), 2, "bdl: wrong:\n  this\n"),
        (ConfigError([Fault("one", file="a")]), 2, "a: one\n"),
        (ConfigError([Fault("one", file="a"), Fault("two", file="b")]), 2, "a: one\nb: two\n"),
        (KeyboardInterrupt(), 130, "bdl: interrupted\n"),
        (click.Abort(), 130, "\nbdl: interrupted\n"),
        (click.ClickException("no"), 2, "bdl: no\n"),
        (OSError(28, "No space left on device"), 1, "bdl: No space left on device\n"),
        (PermissionError(13, "Permission denied", "runs/x"), 1, "bdl: runs/x: Permission denied\n"),
    ],
)
def test_error_becomes_a_message_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], end: BaseException, code: int, err: str
) -> None:
    assert ended_by(monkeypatch, capsys, end) == (code, err)


def test_interrupted_command_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("betterdl_cli.commands.ls").command, "callback", interrupt)
    result = bdl("ls")
    assert (result.code, result.err.removesuffix("\n")) == (130, "bdl: interrupted")


def test_error_of_the_program_itself_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError):
        ended_by(monkeypatch, capsys, ZeroDivisionError())


@pytest.mark.parametrize(
    "words", [["list", "--json"], ["--help"], ["compare", "a.json", "b.json"], ["show", "c.yaml"]], ids=" ".join
)
def test_a_reader_that_goes_away_ends_the_program_as_it_ends_others(
    here: pathlib.Path, write: Write, words: list[str]
) -> None:
    write()
    for name in ("a", "b"):
        (here / f"{name}.json").write_text('{"loss": [0.7, 0.5], "val_loss": [0.8, 0.6]}')
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "betterdl_cli", *words]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (-signal.SIGPIPE, b"")


def test_a_full_disk_behind_standard_output_is_one_message() -> None:
    with pathlib.Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "betterdl_cli", "list"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert (ended.returncode, ended.stderr) == (1, b"bdl: No space left on device\n")


@pytest.mark.parametrize("module", ["betterdl_cli.cli", "click", "betterdl_cli.commands.list", "betterdl_cli.registry"])
def test_an_interrupt_while_something_is_imported_is_one_line(here: pathlib.Path, module: str) -> None:
    code = (
        "import builtins, os, signal, sys\n"
        "class Find:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Find())\n"
        "sys.argv = ['bdl', 'list']\n"
        "from betterdl_cli.__main__ import program\n"
        "program()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"bdl: interrupted\n")


def test_terminal_without_unicode_shows_question_marks() -> None:
    ended = process("list", "l2", PYTHONIOENCODING="latin-1")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"loss + l2 \xb7 ? w\xb2, over the kernels" in ended.stdout


def test_module_is_the_program() -> None:
    ended = process("zzz")
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"bdl: expected a command (run, ")


# ---- what is imported ----

IMPORTED = """
import contextlib, io, json, sys
from betterdl_cli.cli import main
sys.argv = ["bdl", *json.loads(sys.argv[1])]
with contextlib.redirect_stdout(io.StringIO()):
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

KERAS = {"tensorflow", "keras", "jax", "torch"}
HEAVY = KERAS | {"sklearn", "scipy"}


def imported(*words: str) -> set[str]:
    ended = subprocess.run([sys.executable, "-c", IMPORTED, json.dumps(words)], capture_output=True, timeout=60)
    assert ended.stderr == b""
    return set(json.loads(ended.stdout))


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"], ["completion", "zsh"]], ids=" ".join)
def test_help_imports_next_to_nothing(words: list[str]) -> None:
    assert not imported(*words) & (HEAVY | {"pydantic", "rich", "numpy", "yaml", "matplotlib"})


@pytest.mark.parametrize(
    "words",
    [["validate", "c.yaml"], ["show", "c.yaml"], ["list"], ["list", "dropout"], ["compare", "a.json", "b.json"]],
    ids=" ".join,
)
def test_what_trains_nothing_imports_neither_keras_nor_scikit_learn(
    here: pathlib.Path, write: Write, words: list[str]
) -> None:
    write()
    for name in ("a", "b"):
        (here / f"{name}.json").write_text('{"loss": [0.7, 0.5], "val_loss": [0.8, 0.6]}')
    assert not imported(*words) & HEAVY


def test_dry_run_loads_the_data_but_not_keras(write: Write) -> None:
    write()
    found = imported("run", "c.yaml", "--dry-run")
    assert "sklearn" in found
    assert not found & KERAS
