"""Whatever a user does to a config or on the command line: exit code 2 and a message that says what and where."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Callable

import pytest
from shell import bdl

Write = Callable[..., pathlib.Path]

BOMB = "a: &a [x, x]\n" + "".join(f"{new}: &{new} [*{old}, *{old}]\n" for old, new in itertools.pairwise("abcdefghi"))
NAME = "expected a name of a-z, 0-9, '.', '_' and '-' that begins with a letter or a digit"
COMMANDS = "run, compare, power, validate, list, show, ls, rm, completion"
TECHNIQUES = (
    "expected the name of a technique (batch_norm, batch_size, dropout, early_stopping, gaussian_noise, l1, l1_l2, l2, "
    "lr_schedule, normalize_inputs)"
)


def refusal(*words: object) -> str:
    """What stands on stderr; an exception that got through fails the test by itself."""
    result = bdl(*words)
    assert (result.code, result.out) == (2, "")
    return result.err.removesuffix("\n")


# ---- files that are no configs ----


def test_missing_file(write: Write) -> None:
    write()
    assert refusal("validate", "x.yaml") == "x.yaml: no such file (did you mean 'c.yaml'?)"
    assert refusal("run", "missing/deep/config.yaml") == "missing/deep/config.yaml: no such file"
    assert refusal("show", "zzzzzzzz.yaml") == "zzzzzzzz.yaml: no such file"


def test_directory(here: pathlib.Path) -> None:
    (here / "folder").mkdir()
    assert refusal("validate", "folder") == "folder: expected a file, found a folder"
    assert refusal("run", "folder") == "folder: expected a file, found a folder"


def test_file_that_may_not_be_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write()
    monkeypatch.setattr(pathlib.Path, "open", refuse)  # a mode of 000 would not keep root out
    assert refusal("validate", path) == "c.yaml: the file cannot be read: Permission denied"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; expected a mapping of names to values"),
        (b"# only a comment\n", "the file is empty; expected a mapping of names to values"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "1:1: expected text, found the unprintable character U+007F"),
        (b"\x89PNG\r\n\x1a\n\x00", "1:1: expected UTF-8 text, found the byte 0x89"),
        (b"name: caf\xe9\n", "1:10: expected UTF-8 text, found the byte 0xe9"),
        ("name: t".encode("utf-16"), "expected UTF-8 text, found UTF-16; save the file as UTF-8"),
        (b"name: [t\n", "2:1: invalid YAML: expected ',' or ']', but got the end (in what starts at line 1)"),
        (b"name: t\n  data: x\n",
         "2:7: invalid YAML: unexpected ':'; check the indentation, or put the text in quotes"),
        (b"name:\n\tt\n", "2:1: invalid YAML: found a tab; use spaces"),
        (b"- a\n- b\n", "1:1: expected a mapping of names to values, found a list"),
        (b"just text\n", '1:1: expected a mapping of names to values, found "just text"'),
        (b"name: a\n---\nname: b\n", "2:1: expected one document, found a second one"),
        (b"[" * 5000, f"1:51: {'0.' * 49}0: expected at most 50 levels of nesting, found more"),
        (b"a: " + b"{a: " * 5000, f"1:200: {'a.' * 49}a: expected at most 50 levels of nesting, found more"),
        (b"x" * (1 << 20) + b": 1", "expected at most 1 MiB of text, found more"),
    ],
    ids=lambda item: repr(item[:20]) if isinstance(item, bytes) else "",
)  # fmt: skip
def test_file_that_is_no_config(here: pathlib.Path, content: bytes, message: str) -> None:
    (here / "c.yaml").write_bytes(content)
    separator = ":" if message[0].isdigit() else ": "
    assert refusal("validate", "c.yaml") == f"c.yaml{separator}{message}"
    assert not (here / "pwned").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: t", "name: !!python/object/apply:os.system ['touch pwned']",
         "1:7: name: tags are not allowed, found !!python/object/apply:os.system"),
        ("name: t", "name: !custom x", "1:7: name: tags are not allowed, found !custom"),
        ("seeds: 3", "5: x", "7:1: expected a name, found 5; in quotes it is a name"),
    ],
)  # fmt: skip
def test_yaml_that_is_refused_in_a_config(write: Write, old: str, new: str, message: str) -> None:
    path = write(old, new)
    assert refusal("validate", path) == f"c.yaml:{message}"
    assert not (path.parent / "pwned").exists()


def test_alias_bomb(here: pathlib.Path) -> None:
    (here / "c.yaml").write_text(BOMB)
    lines = refusal("validate", "c.yaml").split("\n")
    assert "c.yaml:1:4: a: anchors are not allowed, found &a; leave it out" in lines
    assert "c.yaml:2:8: b.0: aliases are not allowed, found *a; write the value out" in lines
    assert len(lines) == 9 + 2 * 8 + len("abcdefghi") + len(["name", "data", "model"])


# ---- configs with a fault ----


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: t", "name: runs/t", f"1:7: name: {NAME}, found the text 'runs/t'"),
        ("name: t", "name: ../t", f"1:7: name: {NAME}, found the text '../t'"),
        ("name: t", "name: 2024", "1:7: name: expected a text, found 2024"),
        ("name: t\n", "name: t\nname: u\n", "2:1: name: duplicate key 'name', first at line 1"),
        ("seeds: 3", "techniques: {}", "7:1: techniques: duplicate key 'techniques', first at line 5"),
        ("seeds: 3", "seeds: 0", "7:8: seeds: expected at least one seed, found none"),
        ("seeds: 3", "seeds: []", "7:8: seeds: expected at least one seed, found none"),
        ("seeds: 3", "sedes: 3", "7:1: sedes: unknown key; expected one of: name, data, model, training, base, "
         "techniques, arms, seeds, design, aa, metric, equivalence_margin, alpha, store (did you mean 'seeds'?)"),
        ("dropout:", "droput:", f"6:3: techniques.droput: {TECHNIQUES}, found 'droput' (did you mean 'dropout'?)"),
        ("dropout:", "batchnorm:",
         f"6:3: techniques.batchnorm: {TECHNIQUES}, found 'batchnorm' (did you mean 'batch_norm'?)"),
        ("make_circles", "make_circle", "2:14: data.kind: expected the name of a dataset (breast_cancer, digits, "
         "make_circles, make_moons), found 'make_circle' (did you mean 'make_circles'?)"),
        ("rate: 0.2", "rte: 0.2", "6:13: techniques.dropout.rte: unknown key; expected one of: rate, retention "
         "(did you mean 'rate'?)"),
        ("epochs: 5", "epochs: many", "4:64: training.epochs: expected an integer, found the text 'many'"),
        ("epochs: 5", "epochs: true", "4:64: training.epochs: expected an integer, found the truth value true"),
        ("epochs: 5", "epochs: 5.5", "4:64: training.epochs: expected an integer, found 5.5"),
        ("epochs: 5", "epochs:", "4:63: training.epochs: expected an integer, found nothing"),
        ("learning_rate: 0.1", "learning_rate: .nan",
         "4:50: training.optimizer.learning_rate: expected a finite number, found .nan"),
        ("learning_rate: 0.1", "learning_rate: -.inf",
         "4:50: training.optimizer.learning_rate: expected a finite number, found -.inf"),
        ("learning_rate: 0.1", "learning_rate: 1e999",
         "4:50: training.optimizer.learning_rate: expected a finite number, found 1e999"),
        ("learning_rate: 0.1", "learning_rate: nan", "4:50: training.optimizer.learning_rate: expected a number > 0 or "
         "a schedule (a mapping with a kind), found the text 'nan'"),
        ("rate: 0.2", "rate: 1.2", "6:19: techniques.dropout.rate: expected a number < 1, found 1.2"),
        ("rate: 0.2", "rate: 0", "6:19: techniques.dropout.rate: expected a number > 0, found 0"),
        ("rate: 0.2", "rate: yes", "6:19: techniques.dropout.rate: expected a number, found the text 'yes'"),
        ("train: 60", "train: 1.5", "2:59: data.split.train: expected a number of rows (1, 2, …) or a fraction between "
         "0 and 1, found 1.5"),
        ("kind: mlp, hidden: [8]", "kind: cnn", "3:15: model.kind: expected inputs with height × width × channels for "
         "the model cnn, found the dataset make_circles with columns"),
        ("name: t", 'name: "t\\e[2J"', rf"1:7: name: {NAME}, found the text 't\x1b[2J'"),
    ],
)  # fmt: skip
def test_config_with_one_fault(write: Write, old: str, new: str, message: str) -> None:
    assert refusal("validate", write(old, new)) == f"c.yaml:{message}"


def test_run_and_show_refuse_what_validate_refuses(here: pathlib.Path, write: Write) -> None:
    path = write("rate: 0.2", "rate: 1.2")
    message = "c.yaml:6:19: techniques.dropout.rate: expected a number < 1, found 1.2"
    assert refusal("run", path) == message
    assert refusal("run", path, "--dry-run") == message
    assert refusal("show", path) == message
    assert sorted(item.name for item in here.iterdir()) == ["c.yaml"]


def test_two_faults_at_once(write: Write) -> None:
    path = write("rate: 0.2", "rate: 1.2", "name: t", "name: T")
    expected = (
        f"c.yaml:1:7: name: {NAME}, found the text 'T'\n"
        "c.yaml:6:19: techniques.dropout.rate: expected a number < 1, found 1.2"
    )
    assert refusal("validate", path) == expected
    assert refusal("run", path) == expected


def test_faults_of_two_files_at_once(here: pathlib.Path, write: Write) -> None:
    (here / "empty.yaml").touch()
    path = write("seeds: 3", "seeds: 0")
    assert refusal("validate", path, "empty.yaml") == (
        "c.yaml:7:8: seeds: expected at least one seed, found none\n"
        "empty.yaml: the file is empty; expected a mapping of names to values"
    )


# ---- overrides ----


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nonsense", "expected KEY=VALUE such as training.epochs=50, found 'nonsense'"),
        ("=5", "expected KEY=VALUE such as training.epochs=50, found '=5'"),
        ("training..epochs=5", "expected KEY=VALUE such as training.epochs=50, found 'training..epochs=5'"),
        ("training.epochs=", "expected a value, found nothing"),
        ("training.epochs=[", "invalid YAML: expected a value, but found the end"),
        ("training.epoch=5", "training.epoch: unknown path: training has optimizer, epochs, batch_size, "
         "validation_batch_size; found 'epoch' (did you mean 'epochs'?)"),
        ("techniques.droput.rate=0.4", f"techniques.droput: {TECHNIQUES}, found 'droput' (did you mean 'dropout'?)"),
        ("training.epochs=many", "training.epochs: expected an integer, found the text 'many'"),
        ("training.epochs=true", "training.epochs: expected an integer, found the truth value true"),
        ("techniques.dropout.rate=1.2", "techniques.dropout.rate: expected a number < 1, found 1.2"),
        ("techniques.dropout.rate=.nan", "expected a finite number, found .nan"),
        ("seeds=0", "seeds: expected at least one seed, found none"),
        ("name=a/b", f"name: {NAME}, found the text 'a/b'"),
        ("name=*x", "aliases are not allowed, found *x; write the value out"),
        ("name=!!python/name:os.system", "tags are not allowed, found !!python/name:os.system"),
    ],
)  # fmt: skip
def test_override_that_is_refused(write: Write, word: str, message: str) -> None:
    assert refusal("run", write(), word, "--dry-run") == f"override '{word}': {message}"


def test_five_thousand_nested_brackets_in_an_override(write: Write) -> None:
    message = refusal("show", write(), "training.epochs=" + "[" * 5000)
    assert message.endswith("expected at most 50 levels of nesting, found more")
    assert len(message) < 400


def test_two_faulty_overrides_at_once(write: Write) -> None:
    assert refusal("run", write(), "foo=1", "seeds=0") == (
        "override 'foo=1': foo: unknown path: the config has name, data, model, training, base, techniques, arms, "
        "seeds, design, aa, metric, equivalence_margin, alpha, store; found 'foo'\n"
        "override 'seeds=0': seeds: expected at least one seed, found none"
    )


# ---- the command line ----


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vaildate"], f"expected a command ({COMMANDS}), found 'vaildate' (did you mean 'validate'?)"),
        (["zzz"], f"expected a command ({COMMANDS}), found 'zzz'"),
        (["--verison"], "expected an option of bdl, found '--verison' (did you mean '--version'?); see bdl --help"),
        (["run"], "expected CONFIG, found nothing; see bdl run --help"),
        (["validate"], "expected CONFIG..., found nothing; see bdl validate --help"),
        (["run", "c.yaml", "--dryrun"],
         "expected an option of bdl run, found '--dryrun' (did you mean '--dry-run'?); see bdl run --help"),
        (["run", "c.yaml", "--seeds=3"],
         "expected an option of bdl run, found '--seeds' (a value of the config is changed without dashes: seeds=…); "
         "see bdl run --help"),
        (["list", "--xyz"], "expected an option of bdl list, found '--xyz'; see bdl list --help"),
        (["run", "c.yaml", "--device", "tpu"],
         "expected --device (auto, cpu or gpu), found 'tpu'; see bdl run --help"),
        (["run", "c.yaml", "--threads", "0"],
         "expected --threads to be a whole number from 1 to 1024, found 0; see bdl run --help"),
        (["run", "c.yaml", "--threads", "two"],
         "expected --threads to be a whole number from 1 to 1024, found 'two'; see bdl run --help"),
        (["run", "c.yaml", "--threads"], "expected a value after --threads, found nothing"),
        (["run", "c.yaml", "--smoke=yes"], "option '--smoke' does not take a value"),
        (["rm", "a", "b"], "expected nothing more, found 'b'; see bdl rm --help"),
        (["completion"], "expected SHELL (bash, zsh or fish), found nothing; see bdl completion --help"),
        (["completion", "tcsh"], "expected SHELL (bash, zsh or fish), found 'tcsh'; see bdl completion --help"),
    ],
)  # fmt: skip
def test_usage_that_is_refused(write: Write, words: list[str], message: str) -> None:
    write()
    assert refusal(*words) == f"bdl: {message}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dropot"], "expected techniques, datasets, models or the name of one of them, found 'dropot' (did you mean "
         "'dropout'?)"),
        (["technique"], "expected techniques, datasets, models or the name of one of them, found 'technique' (did you "
         "mean 'techniques'?)"),
        (["dropout", "rate"], "expected techniques, datasets, models or the name of one of them, found 'dropout rate' "
         "(did you mean 'techniques dropout'?)"),
        (["zzz"], "expected techniques, datasets, models or the name of one of them, found 'zzz'"),
        (["techniques", "dropot"], f"{TECHNIQUES}, found 'dropot' (did you mean 'dropout'?)"),
        (["models", "zzz"], "expected the name of a model (cnn, mlp), found 'zzz'"),
    ],
)  # fmt: skip
def test_list_of_what_does_not_exist(words: list[str], message: str) -> None:
    assert refusal("list", *words) == f"bdl: {message}"


@pytest.mark.usefixtures("here")
def test_override_of_what_is_no_config() -> None:
    assert refusal("show", "experiment", "seeds=3") == (
        "bdl: expected a config file to apply seeds=3 to, found 'experiment'"
    )
