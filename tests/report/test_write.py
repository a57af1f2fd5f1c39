import pathlib

import pytest
from stored import Stored, config_with

from betterdl_cli.report.write import more_seeds


@pytest.fixture
def adaptive(tmp_path: pathlib.Path) -> Stored:
    return Stored(tmp_path, config_with(seeds="auto"))


def test_auto_begins_with_eight_seeds(adaptive: Stored) -> None:
    assert adaptive.plan.seeds == tuple(range(8))
    assert adaptive.plan.judging.alpha_now == pytest.approx(0.0158)


def test_undecided_evidence_asks_for_the_seeds_of_the_next_look(adaptive: Stored) -> None:
    adaptive.add("control", [0.8] * 8)
    adaptive.add("dropout", [0.7, 0.9] * 4)
    assert more_seeds(adaptive.directory, adaptive.plan) == tuple(range(12))


def test_decided_evidence_asks_for_no_more(adaptive: Stored) -> None:
    adaptive.add("control", [0.8] * 8)
    adaptive.add("dropout", [0.85, 0.86, 0.87, 0.85, 0.86, 0.87, 0.85, 0.86])
    assert more_seeds(adaptive.directory, adaptive.plan) == ()


def test_a_p_between_the_share_of_a_look_and_alpha_does_not_decide(adaptive: Stored) -> None:
    adaptive.add("control", [0.8] * 8)
    # three sign patterns of 256 are as extreme on each side: p = 6 / 256 = 0.023, between 0.0158 and 0.05
    adaptive.add("dropout", [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.85, 0.74])
    assert more_seeds(adaptive.directory, adaptive.plan) == tuple(range(12))


def test_after_the_last_look_there_is_no_more(adaptive: Stored) -> None:
    plan = adaptive.plan.model_copy(update={"seeds": tuple(range(30))})
    assert more_seeds(adaptive.directory, plan) == ()


def test_a_number_of_seeds_stays_that_number(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path)
    assert more_seeds(stored.directory, stored.plan) == ()
