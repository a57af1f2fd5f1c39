from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest
from shell import bdl

from betterdl_cli.config.loading import load
from betterdl_cli.config.notes import notes

Write = Callable[..., pathlib.Path]

SEES_ALL = (
    "more than the 60 training rows, so every update sees all of them; arms that differ only by that are the same"
)


@pytest.mark.parametrize("size", [1, 16, 60])
def test_batch_of_at_most_the_training_rows_needs_no_note(write: Write, size: int) -> None:
    assert notes(load(write(), [f"training.batch_size={size}"])) == []


def test_one_batch_of_more_than_the_training_rows_needs_no_note(write: Write) -> None:
    assert notes(load(write(), ["training.batch_size=61"])) == []


@pytest.mark.parametrize("part", ["60", "0.6"])
@pytest.mark.parametrize(("sizes", "named"), [("64, 128", "64 and 128"), ("60, 128", "128")])
def test_arms_of_batch_sizes_that_come_to_the_same_are_noted(write: Write, sizes: str, named: str, part: str) -> None:
    loaded = load(write("dropout: {rate: 0.2}", f"batch_size: {{size: [8, {sizes}]}}", "train: 60", f"train: {part}"))
    assert notes(loaded) == [f"batch size {named}: {SEES_ALL}"]


def test_rows_that_only_the_data_can_tell_are_not_noted(write: Write) -> None:
    path = write("kind: make_circles, n_samples: 100", "kind: digits", "train: 60", "train: 0.6")
    assert notes(load(path, ["training.batch_size=100000"])) == []


def test_smoke_run_has_no_note_of_its_few_rows(write: Write) -> None:
    assert notes(load(write(), ["training.batch_size=61"], smoke=True)) == []


def test_last_batch_of_one_row_under_batch_norm_is_noted(write: Write) -> None:
    path = write("dropout: {rate: 0.2}", "batch_norm: {}\n  dropout: {rate: 0.2}")
    note = (
        "batch_norm: the last batch of every epoch has one of the 60 training rows, which batch normalisation turns "
        "into a constant; another batch size avoids that"
    )
    assert notes(load(path, ["training.batch_size=59"])) == [note]
    assert notes(load(path, ["training.batch_size=58"])) == []
    assert notes(load(path, ["training.batch_size=16", "data.split.train=49"])) == [note.replace("60", "49")]


def test_last_batch_of_one_image_needs_no_note(write: Write) -> None:
    path = write("kind: make_circles, n_samples: 100", "kind: digits", "kind: mlp, hidden: [8]", "kind: cnn")
    assert notes(load(path, ["techniques.batch_norm={}", "training.batch_size=59"])) == []


def test_validate_and_dry_run_show_the_note(write: Write) -> None:
    path = write("dropout: {rate: 0.2}", "batch_size: {size: [60, 61]}")
    validated, rehearsed = bdl("validate", path), bdl("run", path, "--dry-run")
    assert (validated.code, validated.err) == (0, f"c.yaml: note: batch size 61: {SEES_ALL}\n")
    assert (rehearsed.code, rehearsed.err) == (0, f"note: batch size 61: {SEES_ALL}\n")
    assert bdl("validate", path, "--json").err == ""
