import io
import pathlib
from typing import Any

import pytest
from rich.console import Console
from stored import Stored, config_with

from betterdl_cli.analysis.summary import summarise
from betterdl_cli.report.numbers import mean_sd, metric_words, number, signed
from betterdl_cli.report.table import (
    columns,
    console,
    difference_words,
    epochs_words,
    markdown,
    pair_sentence,
    print_summary,
    rows,
    seeds_words,
    sentences,
)


@pytest.fixture
def stored(tmp_path: pathlib.Path) -> Stored:
    stored = Stored(tmp_path)
    stored.add("control", [0.80, 0.70, 0.90])
    stored.add("dropout", [0.85, 0.80, 0.89])
    return stored


def summary(stored: Stored) -> dict[str, Any]:
    return summarise(stored.directory, stored.plan)


def printed(stored: Stored, width: int = 300) -> str:
    out = io.StringIO()
    print_summary(Console(file=out, width=width), summary(stored))
    return out.getvalue()


# ---- numbers ----


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.8344, "0.834"),
        (0.0, "0.000"),
        (0.0005, "0.001"),
        (0.00049, "0.0005"),
        (0.00009, "9.00e-05"),
        (-0.5, "-0.500"),
        (99999.4, "99999.400"),
        (123456.0, "1.23e+05"),
        (None, "–"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.05, "+0.050"), (-0.05, "−0.050"), (0.0, "0.000"), (-0.0001, "−0.0001"), (None, "–")]
)
def test_signed(value: float | None, text: str) -> None:
    assert signed(value) == text


def test_mean_and_sd() -> None:
    assert mean_sd({"mean": 0.8, "sd": 0.1}) == "0.800 ± 0.100"
    assert mean_sd({"mean": 0.8, "sd": None}) == "0.800"
    assert mean_sd(None) == "–"


@pytest.mark.parametrize(
    ("metric", "words"),
    [("test_accuracy", "test accuracy"), ("val_loss", "validation loss"), ("loss", "loss"),
     ("test_mean_absolute_error", "test mean absolute error"), ("learning_rate", "learning rate")],
)  # fmt: skip
def test_metric_words(metric: str, words: str) -> None:
    assert metric_words(metric) == words


# ---- cells ----


def test_a_row_per_arm_with_a_cell_per_column(stored: Stored) -> None:
    found = dict(zip(columns(summary(stored)), rows(summary(stored))[1], strict=True))
    assert found == {
        "arm": "dropout",
        "area": "better generalisation",
        "seeds": "3",
        "train": "0.847 ± 0.045",
        "validation": "0.847 ± 0.045",
        "test": "0.847 ± 0.045",
        "test at best epoch*": "0.847 ± 0.045",
        "test − control's (range)": "+0.047 (−0.010 to +0.100)",
        "epochs": "3",
        "seconds": "2.0",
    }


def test_the_control_has_no_difference(stored: Stored) -> None:
    assert rows(summary(stored))[0][7] == "–"


def test_diverged_and_failed_runs_stand_apart() -> None:
    well: dict[str, Any] = {"seeds": [0, 1], "diverged": {}, "failed": {}, "missing": [], "unreadable": []}
    assert seeds_words(well) == "2"
    assert seeds_words({**well, "diverged": {"1": 2}, "failed": {"3": "x"}}) == "2, 1 diverged, 1 failed"
    assert seeds_words({**well, "missing": [2, 3], "unreadable": [4]}) == "2, 2 missing, 1 not readable"


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (None, "–"),
        ({"mean": None, "n_pairs": 0}, "no pair"),
        ({"mean": 0.1, "n_pairs": 1, "min": 0.1, "max": 0.1}, "+0.100"),
        ({"mean": 0.0, "n_pairs": 2, "min": -0.1, "max": 0.1}, "0.000 (−0.100 to +0.100)"),
    ],
)
def test_differences_in_words(difference: Any, words: str) -> None:
    assert difference_words({"difference": difference}) == words


def test_epochs_in_words() -> None:
    assert epochs_words({"epochs": {"mean": 3.0, "min": 3.0, "max": 3.0}}) == "3"
    assert epochs_words({"epochs": {"mean": 2.5, "min": 2.0, "max": 3.0}}) == "2 (2 to 3)"
    assert epochs_words({"epochs": None}) == "–"


def test_without_validation_there_is_no_best_epoch(tmp_path: pathlib.Path) -> None:
    config = config_with()
    del config["data"]["split"]["validation"]
    stored = Stored(tmp_path, config)
    stored.add("control", [0.8], best=None)
    stored.add("dropout", [0.8], best=None)
    assert "test at best epoch*" not in columns(summary(stored))
    assert not [sentence for sentence in sentences(summary(stored)) if "selected on" in sentence]


# ---- sentences ----


def test_every_pair_is_told_with_what_it_shares(stored: Stored) -> None:
    assert sentences(summary(stored))[:2] == [
        "Too few seeds to say whether dropout helps test accuracy on this split: +0.05 against control (better in 2 of "
        "3 pairs); a verdict needs at least 6 pairs.",
        "    Pairs: +0.050 (seed 0), +0.100 (seed 1), −0.010 (seed 2). Paired: same split, same data order, same "
        "initial weights of hidden_1, output.",
    ]


def test_ties_are_told(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    stored.add("control", [0.8, 0.8])
    stored.add("dropout", [0.8, 0.9])
    assert "(better in 1 of 2 pairs and equal in 1)" in sentences(summary(stored))[0]


def test_many_pairs_are_cut_short(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=12))
    stored.add("control", [0.5 + 0.01 * seed for seed in range(12)])
    stored.add("dropout", [0.6] * 12)
    assert "(seed 9) and 2 more. Paired: " in sentences(summary(stored))[1]


@pytest.mark.parametrize(
    ("wins", "ties", "words"), [(0, 0, "+0.100, worse"), (1, 0, "+0.100, better"), (0, 1, "+0.100, equal")]
)
def test_how_two_history_files_differ(wins: int, ties: int, words: str) -> None:
    shared = {"in_words": "nothing is known of what these runs share"}
    difference = {"metric": "loss", "wins": wins, "ties": ties, "mean": 0.1, "paired": shared}
    assert pair_sentence("b", "a", difference) == f"b − a, loss: {words}. Paired: {shared['in_words']}."


def test_the_verdict_on_every_treatment_comes_before_the_notes(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(seeds=9, **{"techniques.batch_norm": {}}))
    stored.add("control", [0.7] * 8)
    stored.add("dropout", [0.8, 0.81, 0.82, 0.8, 0.81, 0.82, 0.8, 0.8])
    stored.add("batch_norm", [0.701, 0.699] * 4)
    said = [line for line in sentences(summary(stored)) if not line.startswith(" ")]
    assert [line.partition(" test")[0] for line in said[:2]] == [
        "dropout helps",
        "batch_norm makes no practical difference to",
    ]
    assert "no run yet of seed 8" in said[3]


def test_words_of_statistics_that_mislead_are_not_used(stored: Stored) -> None:
    words = printed(stored).lower()
    assert not [word for word in ("significant", "proves that", "better than") if word in words]


def test_arms_held_against_another_than_the_control_head_their_column_so(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(design="leave-one-out", **{"techniques.batch_norm": {}}))
    assert "test − reference's (range)" in columns(summary(stored))


# ---- on a terminal and in a file ----


def test_the_table_stands_on_a_wide_terminal(stored: Stored) -> None:
    text = printed(stored)
    assert text.splitlines()[0] == "made-up (engine fit, cpu, keras 3.15.1, tensorflow 2.21.0)"
    assert text.splitlines()[1].startswith("accuracy (higher is better): mean ± standard deviation over seeds")
    (line,) = [line for line in text.splitlines() if line.startswith("│ dropout")]
    assert "+0.047 (−0.010 to +0.100)" in line


def test_blocks_stand_on_a_narrow_one(stored: Stored) -> None:
    text = printed(stored, width=60)
    assert "│" not in text
    assert max(len(line) for line in text.splitlines()) <= 60
    assert "dropout (better generalisation)" in text


def test_where_there_is_no_terminal_no_line_is_broken(stored: Stored, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(console(), summary(stored))
    assert sentences(summary(stored))[0] in capsys.readouterr().out.splitlines()


def test_an_experiment_without_runs_can_be_printed(tmp_path: pathlib.Path) -> None:
    assert "no pair" in printed(Stored(tmp_path))


def test_a_smoke_run_says_that_it_says_nothing(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, smoke=True)
    stored.add("control", [0.8])
    assert "smoke run: says nothing about the technique" in printed(stored)


def test_mixed_environments_are_marked(stored: Stored) -> None:
    stored.add_run("dropout", 2, environment={"engine": "fit", "device": "gpu", "threads": 1})
    assert "MIXED environments" in printed(stored)


def test_markdown_has_the_table_the_sentences_and_the_pictures(stored: Stored) -> None:
    text = markdown(summary(stored), ["curves_dropout.png", "difference_dropout.png"])
    lines = text.splitlines()
    assert lines[0] == "# made-up"
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4
    assert len({line.count("|") for line in table}) == 1
    assert not [line for line in lines if line.startswith(" ")]  # it would be a block of code
    assert "\\* weights of the epoch with the lowest val_loss: selected on validation." in lines
    assert "* `+ layers.hidden_1_dropout: Dropout(rate=0.2) after hidden_1`" in lines
    assert lines.index("![curves_dropout.png](curves_dropout.png)") > lines.index("## dropout")
    assert "![difference_dropout.png](difference_dropout.png)" in lines


def test_markdown_names_no_picture_that_was_not_drawn(stored: Stored) -> None:
    assert "![" not in markdown(summary(stored), [])
