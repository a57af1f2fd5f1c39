from dataclasses import dataclass
from typing import Any, cast

from betterdl_cli.training.units import WIDTH, units


@dataclass(frozen=True)
class NamedArm:
    id: str


CONTROL, DROPOUT = cast("Any", NamedArm("control")), cast("Any", NamedArm("dropout"))


def test_fit_takes_run_after_run_as_they_come() -> None:
    assert units([(0, CONTROL), (0, DROPOUT), (1, CONTROL)], "fit") == [
        (CONTROL, (0,)),
        (DROPOUT, (0,)),
        (CONTROL, (1,)),
    ]


def test_vectorized_takes_the_seeds_of_an_arm_at_once() -> None:
    missing = [(seed, arm) for seed in (0, 1, 2) for arm in (CONTROL, DROPOUT)]
    assert units(missing, "vectorized") == [(CONTROL, (0, 1, 2)), (DROPOUT, (0, 1, 2))]


def test_more_seeds_than_the_width_make_several_groups() -> None:
    groups = units([(seed, CONTROL) for seed in range(WIDTH + 2)], "vectorized")
    assert [seeds for _, seeds in groups] == [tuple(range(WIDTH)), (WIDTH, WIDTH + 1)]


def test_nothing_missing_is_no_work() -> None:
    assert units([], "vectorized") == []
