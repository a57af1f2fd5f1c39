import math
import pathlib
from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats
from stored import Stored, config_with

from betterdl_cli.analysis.arms import NO_SEED, ArmData
from betterdl_cli.analysis.comparison import (
    Confounding,
    Spread,
    confounding,
    have_equal_histories,
    paired_difference,
    pairing,
)
from betterdl_cli.analysis.summary import experiment_arms
from betterdl_cli.history import History


def bare(label: str, **metrics: list[float]) -> ArmData:
    history = History({name: np.array(values, dtype=float) for name, values in metrics.items()})
    return ArmData(label, {NO_SEED: history})


def arms(stored: Stored) -> tuple[ArmData, ArmData]:
    found = experiment_arms(stored.directory, stored.plan)
    return found["control"], found["dropout"]


@pytest.fixture
def stored(tmp_path: pathlib.Path) -> Stored:
    return Stored(tmp_path, config_with(seeds=10))


# ---- the spread of values ----


def test_spread_by_hand() -> None:
    spread = Spread.of({0: 1.0, 1: 2.0, 2: 6.0})
    assert spread is not None
    assert (spread.n, spread.mean, spread.low, spread.high) == (3, 3.0, 1.0, 6.0)
    assert spread.sd == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


def test_one_value_has_no_sd_and_none_no_spread() -> None:
    single = Spread.of({5: 0.25})
    assert single == Spread(1, 0.25, None, 0.25, 0.25)
    assert Spread.of({}) is None


# ---- paired differences ----


def test_paired_differences_by_hand(stored: Stored) -> None:
    stored.add("control", [0.80, 0.70, 0.90])
    stored.add("dropout", [0.85, 0.80, 0.89])
    found = paired_difference(*arms(stored), "test_accuracy")
    assert found.values == pytest.approx({0: 0.05, 1: 0.10, 2: -0.01})
    assert found.spread is not None
    assert found.spread.mean == pytest.approx(0.14 / 3)
    assert found.interval is not None
    expected = stats.ttest_1samp(list(found.values.values()), 0.0).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high))


def test_the_interval_is_that_of_the_pairs_not_of_the_arms(stored: Stored) -> None:
    stored.add("control", [0.1, 0.5, 0.9])
    stored.add("dropout", [0.12, 0.51, 0.93])
    found = paired_difference(*arms(stored), "test_accuracy")
    assert found.interval is not None
    assert found.interval[1] - found.interval[0] < 0.06


def test_only_seeds_of_both_arms_are_paired(stored: Stored) -> None:
    for seed in (0, 1, 2):
        stored.add_run("control", seed, 0.5)
    for seed in (2, 3):
        stored.add_run("dropout", seed, 0.75)
    assert paired_difference(*arms(stored), "test_accuracy").values == {2: 0.25}


def test_diverged_and_failed_runs_are_not_paired(stored: Stored) -> None:
    stored.add("control", [0.5, 0.5, 0.5, 0.5])
    stored.add_run("dropout", 0, 0.75)
    stored.add_run("dropout", 1, None, diverged=2)
    stored.add_run("dropout", 2, 0.1, diverged=3)  # a score is there, but it is that of a diverged model
    stored.add_failure("dropout", 3)
    control, dropout = arms(stored)
    assert paired_difference(control, dropout, "test_accuracy").values == {0: 0.25}
    assert dropout.diverged == {1: 2, 2: 3}
    assert dropout.failed == {3: "ResourceExhaustedError: no memory"}
    assert sorted(dropout.histories) == [0, 1, 2]


def test_one_pair_has_no_interval(stored: Stored) -> None:
    stored.add("control", [0.5])
    stored.add("dropout", [0.75])
    found = paired_difference(*arms(stored), "test_accuracy")
    assert found.spread is not None
    assert (found.spread.mean, found.spread.sd, found.interval) == (0.25, None, None)


def test_equal_differences_have_no_interval(stored: Stored) -> None:
    stored.add("control", [0.5, 0.6, 0.7])
    stored.add("dropout", [0.6, 0.7, 0.8])
    assert paired_difference(*arms(stored), "test_accuracy").interval is None


def test_differences_are_those_of_the_numbers_as_written(stored: Stored) -> None:
    stored.add("control", [0.8, 0.8])
    stored.add("dropout", [0.85, 0.75])  # 0.85 − 0.8 is 0.04999999999999993 in floating point
    found = paired_difference(*arms(stored), "test_accuracy")
    assert found.values == {0: 0.05, 1: -0.05}
    assert found.spread is not None
    assert found.spread.mean == 0.0


def test_no_pair_has_no_spread(stored: Stored) -> None:
    stored.add_run("control", 0, 0.5)
    stored.add_run("dropout", 1, 0.5)
    found = paired_difference(*arms(stored), "test_accuracy")
    assert (found.values, found.spread, found.interval) == ({}, None, None)


@pytest.mark.parametrize(("pairs", "p"), [(0, 1.0), (1, 1.0), (2, 0.5), (10, 2 / 1024), (5000, 0.0)])
def test_the_smallest_p_of_a_sign_flip_test(pairs: int, p: float) -> None:
    from betterdl_cli.analysis.comparison import PairedDifference

    assert PairedDifference("loss", dict.fromkeys(range(pairs), 0.0), None, None).smallest_p == p


# ---- scores of one arm ----


def test_scores_by_part_and_metric(stored: Stored) -> None:
    scores = {"train": {"loss": 0.1, "accuracy": 0.9}, "validation": {"loss": 0.2, "accuracy": 0.8}}
    stored.add_run("control", 0, scores={**scores, "test": {"loss": 0.3, "accuracy": 0.7}})
    control, _ = arms(stored)
    found = [control.score(0, f"{part}_{name}") for part in ("train", "val", "test") for name in ("loss", "accuracy")]
    assert found == [0.1, 0.9, 0.2, 0.8, 0.3, 0.7]
    assert control.score(0, "test_auc") is None


def test_the_score_of_a_bare_history_is_its_last_value() -> None:
    data = bare("h.csv", loss=[0.7, 0.4], val_loss=[0.8, 0.5])
    assert [data.score(NO_SEED, name) for name in ("loss", "val_loss", "train_loss", "accuracy")] == [
        0.4, 0.5, 0.4, None
    ]  # fmt: skip


@pytest.mark.parametrize("last", [math.nan, math.inf, -math.inf])
def test_a_bare_history_that_does_not_end_in_a_number_has_no_score(last: float) -> None:
    assert bare("h.csv", loss=[0.7, last]).scores("loss") == {}


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        ([0.7, 0.5, 0.3], {}),
        ([0.7, math.nan, math.nan], {NO_SEED: 2}),
        ([0.7, 0.5, math.inf], {NO_SEED: 3}),
        ([0.7, 0.5, 2.2, 5e11], {NO_SEED: 3}),  # 3 times 0.7 is 2.1
        ([0.7, 0.5, 2.0, 2.0], {}),
        ([0.1, 0.5, 2.0], {}),  # 3 times ln 2 is 2.08
    ],
)
def test_a_bare_history_diverges_as_a_run_does(losses: list[float], diverged: dict[int, int]) -> None:
    data = bare("h.csv", loss=losses, val_accuracy=[0.99] * len(losses))
    assert data.diverged == diverged
    assert data.scores("val_accuracy") == ({} if diverged else {NO_SEED: 0.99})
    assert data.to_histories().diverged == diverged


def test_a_bare_history_without_a_loss_has_not_diverged() -> None:
    assert bare("h.csv", val_accuracy=[0.9, math.nan]).diverged == {}


# ---- the same twice ----


def test_equal_histories_are_recognised(stored: Stored) -> None:
    stored.add("control", [0.8, 0.8])
    stored.add("dropout", [0.8, 0.8])
    assert have_equal_histories(*arms(stored))
    assert have_equal_histories(bare("h", loss=[1, math.nan]), bare("i", loss=[1, math.nan]))


def test_histories_that_differ_are_not_equal(stored: Stored) -> None:
    stored.add("control", [0.8, 0.8])
    stored.add("dropout", [0.8])
    assert not have_equal_histories(*arms(stored))
    assert not have_equal_histories(bare("h", loss=[1.0]), bare("i", loss=[1.0, 1.0]))
    assert not have_equal_histories(bare("h", loss=[1.0]), bare("i", loss=[2.0]))
    assert not have_equal_histories(bare("h", loss=[1.0]), bare("i", mse=[1.0]))
    assert not have_equal_histories(ArmData("h", {}), ArmData("i", {}))


# ---- what the pairs share ----


def test_what_all_pairs_share_is_said(stored: Stored) -> None:
    stored.add("control", [0.8, 0.8])
    stored.add("dropout", [0.8, 0.8])
    found = pairing(*arms(stored))
    assert (found.pairs, found.split, found.order, found.weights) == (2, True, True, ("hidden_1", "output"))
    assert found.in_words == "same split, same data order, same initial weights of hidden_1, output"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"split": "other"},
            "same data order, same initial weights of hidden_1, output; different split",
        ),
        (
            {"order": ("other",)},
            "same split, same initial weights of hidden_1, output; different data order",
        ),
        (
            {"order": ("first",)},  # stopped after one epoch
            "same split, same data order, same initial weights of hidden_1, output",
        ),
        (
            {"weights": {"hidden_1": "other", "output": "o1"}},
            "same split, same data order, same initial weights of output; different initial weights of hidden_1",
        ),
        (
            {"weights": {"hidden_1": "h", "hidden_1_batch_norm": "new", "output": "o1"}},
            "same split, same data order, same initial weights of hidden_1, output",
        ),
    ],
)
def test_what_one_pair_does_not_share_counts_for_all(stored: Stored, changes: Mapping[str, object], words: str) -> None:
    stored.add("control", [0.8, 0.8])
    stored.add_run("dropout", 0)
    stored.add_run("dropout", 1, **changes)
    assert pairing(*arms(stored)).in_words == words


def test_nothing_is_claimed_of_runs_without_fingerprints(stored: Stored) -> None:
    stored.add("control", [0.8])
    found = pairing(arms(stored)[0], bare("h.csv", loss=[1.0]))
    assert (found.pairs, found.split, found.order, found.weights) == (0, False, False, ())
    assert found.in_words == "nothing is known of what these runs share"


# ---- what two arms differ by ----


def confounded(before: Stored, after: Stored, arm: str = "dropout", other: str = "dropout") -> Confounding:
    found = confounding(
        experiment_arms(before.directory, before.plan)[arm], experiment_arms(after.directory, after.plan)[other]
    )
    assert found is not None
    return found


def test_a_treatment_differs_from_its_control_by_one_thing(stored: Stored) -> None:
    found = confounded(stored, stored, "control", "dropout")
    assert (found.factors, len(found.all)) == (1, 1)


def test_several_declared_techniques_are_one_thing(tmp_path: pathlib.Path) -> None:
    stored = Stored(tmp_path, config_with(arms={"both": {"batch_norm": {}, "l2": {}}}))
    found = confounded(stored, stored, "control", "both")
    assert (found.factors, len(found.all)) == (1, 2)


def test_one_setting_between_two_experiments_is_one_thing(stored: Stored, tmp_path: pathlib.Path) -> None:
    other = Stored(tmp_path, config_with(**{"training.epochs": 9}))
    assert confounded(stored, other).factors == 1
    assert [str(item) for item in confounded(stored, other).others] == ["~ training.epochs: 3 → 9"]


def test_a_setting_and_a_technique_are_two_things(stored: Stored, tmp_path: pathlib.Path) -> None:
    other = Stored(tmp_path, config_with(**{"training.epochs": 9}))
    assert confounded(stored, other, "control", "dropout").factors == 2


def test_two_settings_are_two_things(stored: Stored, tmp_path: pathlib.Path) -> None:
    other = Stored(tmp_path, config_with(**{"training.epochs": 9, "training.batch_size": 8}))
    assert confounded(stored, other).factors == 2


def test_the_same_recipe_differs_by_nothing(stored: Stored) -> None:
    found = confounded(stored, stored)
    assert (found.factors, found.all) == (0, ())


def test_of_a_bare_history_nothing_is_known(stored: Stored) -> None:
    assert confounding(arms(stored)[0], bare("h.csv", loss=[1.0])) is None


def test_equal_values_have_no_spread_at_all() -> None:
    spread = Spread.of({0: 0.8, 1: 0.8, 2: 0.8})
    assert spread == Spread(3, 0.8, 0.0, 0.8, 0.8)
