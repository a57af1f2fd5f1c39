import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from betterdl_cli.analysis.curves import (
    Ending,
    alive_counts,
    are_shares,
    arm_curves,
    axis_limits,
    better_sign,
    block_means,
    block_width,
    endings,
    identical_until,
    longest_pair,
    pair_curves,
    pair_endings,
    panel_metrics,
    wants_log_axis,
)
from betterdl_cli.analysis.histories import ArmHistories
from betterdl_cli.history import History

NAN = math.nan
T_2 = 4.302652729749461  # t quantile, probability 0.975, 2 degrees of freedom


def arm(*losses: Sequence[float], diverged: Mapping[int, int] | None = None, name: str = "control") -> ArmHistories:
    runs = {seed: History({"loss": np.array(loss, dtype=float)}) for seed, loss in enumerate(losses)}
    return ArmHistories(name, runs, diverged or {})


def metrics(*names: str) -> ArmHistories:
    return ArmHistories("arm", {0: History({name: np.array([0.5, 0.4]) for name in names})})


# curves of an arm


def test_mean_and_band_of_three_runs_by_hand() -> None:
    curves = arm_curves(arm([1, 4], [2, 4], [3, 4]), "loss")
    half = T_2 / math.sqrt(3)
    assert curves.epochs.tolist() == [1, 2]
    assert curves.center == pytest.approx([2, 4])
    assert curves.low == pytest.approx([2 - half, 4])
    assert curves.high == pytest.approx([2 + half, 4])
    assert not curves.shows_singles


def test_two_runs_have_no_mean() -> None:
    curves = arm_curves(arm([1, 4], [2, 4]), "loss")
    assert curves.center.size == curves.low.size == curves.high.size == 0
    assert curves.single_from == 0


def test_mean_ends_with_the_first_run_that_ends() -> None:
    curves = arm_curves(arm([1, 1, 1, 1], [2, 2], [3, 3, 3]), "loss")
    assert curves.alive.tolist() == [3, 3, 2, 1]
    assert curves.center.tolist() == [2, 2]
    assert curves.lives.tolist() == [4, 2, 3]


def test_single_curves_begin_at_the_last_epoch_of_the_mean() -> None:
    curves = arm_curves(arm([1, 1, 1, 1], [2, 2], [3, 3, 3]), "loss")
    assert curves.single_from == 1
    assert curves.values[2].tolist()[1:3] == [3, 3]


def test_a_value_that_is_not_finite_ends_a_run_even_when_later_ones_are_finite() -> None:
    curves = arm_curves(arm([1, NAN, 1], [2, 2, 2], [3, 3, 3]), "loss")
    assert curves.alive.tolist() == [3, 2, 2]
    assert curves.center.tolist() == [2]


def test_infinity_counts_as_a_missing_value() -> None:
    curves = arm_curves(arm([1, math.inf], [2, 2], [3, 3]), "loss")
    assert curves.alive.tolist() == [3, 2]
    assert np.isnan(curves.values[0, 1])


def test_a_diverged_run_is_not_alive_though_its_values_are_finite() -> None:
    curves = arm_curves(arm([1, 1e9, 1e9], [2, 2, 2], [3, 3, 3], diverged={0: 2}), "loss")
    assert curves.alive.tolist() == [3, 2, 2]
    assert curves.values[0].tolist() == [1, 1e9, 1e9]


def test_divergence_of_the_loss_ends_the_accuracy_too() -> None:
    runs = {
        seed: History({"loss": np.array([1.0, bad]), "accuracy": np.array([0.5, 0.5])})
        for seed, bad in enumerate([NAN, 1.0, 1.0])
    }
    assert arm_curves(ArmHistories("arm", runs), "accuracy").alive.tolist() == [3, 2]


def test_a_run_that_never_was_alive_prevents_every_mean() -> None:
    curves = arm_curves(arm([NAN, NAN], [2, 2], [3, 3], [4, 4]), "loss")
    assert curves.alive.tolist() == [3, 3]
    assert curves.center.size == 0


def test_a_run_without_the_metric_prevents_every_mean() -> None:
    mixed = arm([1, 1], [2, 2], [3, 3])
    runs = dict(mixed.runs) | {9: History({"accuracy": np.array([0.5, 0.5])})}
    assert arm_curves(ArmHistories("arm", runs), "loss").center.size == 0


def test_epochs_that_no_run_recorded_are_left_out() -> None:
    runs = {
        seed: History({"loss": np.ones(4), "val_loss": np.array([NAN, float(seed), NAN, float(seed)])})
        for seed in (1, 2, 3)
    }
    curves = arm_curves(ArmHistories("arm", runs), "val_loss")
    assert curves.epochs.tolist() == [2, 4]
    assert curves.center.tolist() == [2, 2]


def test_seeds_are_ascending() -> None:
    runs = {7: History({"loss": np.array([7.0])}), 3: History({"loss": np.array([3.0])})}
    curves = arm_curves(ArmHistories("arm", runs), "loss")
    assert curves.seeds == (3, 7)
    assert curves.values[:, 0].tolist() == [3, 7]


def test_mean_in_log_space_is_the_geometric_mean() -> None:
    curves = arm_curves(arm([0.1], [1], [10]), "loss", log=True)
    half = T_2 * math.log(10) / math.sqrt(3)
    assert curves.center[0] == pytest.approx(1.0)
    assert curves.low[0] == pytest.approx(math.exp(-half))
    assert curves.high[0] == pytest.approx(math.exp(half))


def test_mean_in_log_space_refuses_zero() -> None:
    with pytest.raises(ValueError, match="expected positive values"):
        arm_curves(arm([0], [1], [10]), "loss", log=True)


# differences


def test_differences_are_treatment_minus_control_over_common_seeds() -> None:
    control, treatment = arm([1, 1], [2, 2], [3, 3], [9, 9]), arm([2, 1], [4, 2], [6, 3])
    curves = pair_curves(control, treatment, "loss")
    assert curves.seeds == (0, 1, 2)
    assert curves.values.tolist() == [[1, 0], [2, 0], [3, 0]]
    assert curves.center.tolist() == [2, 0]
    assert curves.high[0] == pytest.approx(2 + T_2 / math.sqrt(3))


def test_a_pair_is_alive_while_both_runs_are() -> None:
    control = arm([1, 1, 1], [1, 1, 1], [1, NAN, NAN])
    treatment = arm([1, 1], [1, 1, 1], [1, 1, 1])
    curves = pair_curves(control, treatment, "loss")
    assert curves.alive.tolist() == [3, 2, 1]
    assert curves.center.tolist() == [0]


def test_a_run_that_diverged_ends_its_pair() -> None:
    curves = pair_curves(arm([1, 50, 60], diverged={0: 2}), arm([1, 1, 1]), "loss")
    assert curves.alive.tolist() == [1, 0]
    assert (curves.epochs.tolist(), curves.values.tolist()) == ([1, 2], [[0, -49]])


def test_a_run_that_diverged_is_drawn_on_in_its_arm() -> None:
    assert arm_curves(arm([1, 50, 60], diverged={0: 2}), "loss").values.tolist() == [[1, 50, 60]]


def test_a_band_ends_where_its_metric_does() -> None:
    curves = arm_curves(arm([0.1, 0.9], [0.5, 0.9], [0.9, 0.9]), "loss").within((0.0, 1.0))
    assert (curves.low.tolist(), curves.high.tolist()) == ([0.0, 0.9], [1.0, 0.9])  # 0.5 ± 0.99 without bounds


@pytest.mark.parametrize(
    ("one", "other", "epoch"),
    [
        ([3, 2, 1], [3, 2, 1], 3),
        ([3, 2, 1], [3, 2], 2),  # stopped early
        ([3, 2, 1, 1], [3, 2, 1, 0], 3),  # a learning rate that was reduced
        ([3, NAN, 1], [3, NAN, 1], 3),
        ([3, 2], [3, 1], 0),  # one epoch hides nothing
        ([3], [3], 1),
        ([3], [2], 0),
        ([NAN], [NAN], 0),
    ],
)
def test_until_when_curves_are_identical(one: list[float], other: list[float], epoch: int) -> None:
    assert identical_until(arm_curves(arm(one), "loss"), arm_curves(arm(other), "loss")) == epoch


def test_curves_of_other_seeds_are_not_identical() -> None:
    assert identical_until(arm_curves(arm([1, 1]), "loss"), arm_curves(arm([1, 1], [1, 1]), "loss")) == 0


def test_two_pairs_have_no_mean() -> None:
    assert pair_curves(arm([1], [2]), arm([1], [2], [3]), "loss").center.size == 0


def test_arms_without_common_seeds_have_no_differences() -> None:
    other = ArmHistories("treatment", {8: History({"loss": np.ones(2)})})
    with pytest.raises(ValueError, match="common seeds of 'control' and 'treatment'"):
        pair_curves(arm([1, 1]), other, "loss")


def test_differences_of_huge_losses_overflow_without_a_warning() -> None:
    curves = pair_curves(arm([-1.7e308, 1]), arm([1.7e308, 2]), "loss")
    assert curves.epochs.tolist() == [2]


# ends


def test_endings_tell_stopped_from_diverged() -> None:
    stopped_and_diverged = arm([1, 1, 1, 1], [1, 1], [1, NAN, NAN, NAN], [1, 1, 9, 9], diverged={3: 3})
    assert endings(stopped_and_diverged, 4) == {1: Ending(2), 2: Ending(1, 2), 3: Ending(2, 3)}


def test_a_run_that_diverged_at_the_first_epoch_was_never_alive() -> None:
    assert endings(arm([NAN, NAN]), 2) == {0: Ending(0, 1)}


def test_pairs_end_with_the_run_that_ends_first() -> None:
    control = arm([1, 1, 1], [1, 1, 1], [1, 1, NAN])
    treatment = arm([1, 1, 1], [1], [1, 1])
    assert longest_pair(control, treatment) == 3
    assert pair_endings(control, treatment) == {1: Ending(1), 2: Ending(2, 3)}


def test_pairs_that_all_end_with_the_shorter_arm_did_not_end_early() -> None:
    assert pair_endings(arm([1, 1, 1], [1, 1, 1]), arm([1, 1], [1, 1])) == {}


def test_alive_counts_by_hand() -> None:
    assert alive_counts(3, {0: Ending(2), 5: Ending(0, 1)}, 4).tolist() == [2, 2, 1, 1]


# which metrics, which axis


def test_loss_and_accuracy_come_first() -> None:
    both = metrics("auc", "val_auc", "loss", "val_loss", "accuracy", "val_accuracy", "learning_rate")
    assert panel_metrics(both, both) == ("loss", "accuracy")


def test_another_score_stands_in_for_the_accuracy() -> None:
    both = metrics("loss", "learning_rate", "mae", "auc", "val_auc")
    assert panel_metrics(both, both) == ("loss", "auc")


def test_loss_alone_makes_one_panel() -> None:
    assert panel_metrics(metrics("loss", "lr"), metrics("loss", "accuracy")) == ("loss",)


def test_arms_without_a_common_metric_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a metric common to"):
        panel_metrics(metrics("loss"), metrics("accuracy"))


@pytest.mark.parametrize("empty", [ArmHistories("bare", {}), ArmHistories("bare", {0: History({})})])
def test_an_arm_without_epochs_is_refused(empty: ArmHistories) -> None:
    with pytest.raises(ValueError, match="at least one trained epoch in arm 'bare'"):
        panel_metrics(metrics("loss"), empty)


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("loss", [1.0, 0.009], True),
        ("val_loss", [1.0, 0.009], True),
        ("loss", [1.0, 0.01], False),
        ("loss", [1.0, 0.0], False),
        ("loss", [1.0, -0.001], False),
        ("loss", [1.0, 0.001, NAN, math.inf], True),
        ("loss", [1e-300, 1e308], True),
        ("loss", [NAN], False),
        ("accuracy", [1.0, 0.001], False),
        ("mean_squared_error", [1.0, 0.001], True),
    ],
)
def test_log_axis_for_positive_losses_over_more_than_two_decades(
    metric: str, values: list[float], expected: bool
) -> None:
    assert wants_log_axis(metric, [np.array(values)]) is expected


def test_log_axis_looks_at_all_arms_together() -> None:
    assert wants_log_axis("loss", [np.array([1.0]), np.array([[0.001]])])


@pytest.mark.parametrize(
    ("metric", "sign"),
    [("loss", -1), ("val_loss", -1), ("mse", -1), ("val_binary_accuracy", 1), ("auc", 1), ("banana", 0)],
)
def test_direction_of_a_metric(metric: str, sign: int) -> None:
    assert better_sign(metric) == sign


def test_accuracies_in_percent_are_no_shares() -> None:
    assert are_shares("accuracy", [np.array([0.0, 1.0, NAN])])
    assert not are_shares("accuracy", [np.array([55.0])])
    assert not are_shares("loss", [np.array([0.5])])


def test_limits_hold_lines_and_bands_with_a_margin() -> None:
    curves = arm_curves(arm([1, 4], [2, 5], [3, 6]), "loss")
    limits = axis_limits([curves])
    margin = 0.04 * (curves.high.max() - curves.low.min())
    assert (limits.low, limits.high) == pytest.approx((curves.low.min() - margin, curves.high.max() + margin))
    assert (limits.above, limits.below) == (None, None)


def test_limits_leave_out_a_diverged_run_and_say_so() -> None:
    curves = arm_curves(arm([1, 1e9, 1e9], [2, 2, 1], [3, 2, 1], diverged={0: 2}), "loss")
    limits = axis_limits([curves], bounds=(0.0, math.inf))
    assert limits.high < 10
    assert limits.above == 1e9


def test_limits_leave_out_a_lone_peak() -> None:
    losses = np.linspace(1.0, 0.5, 300)
    losses[150] = 1e6
    limits = axis_limits([arm_curves(arm(losses), "loss")])
    assert limits.high < 2
    assert limits.above == 1e6


def test_limits_keep_the_first_epochs_of_a_long_training() -> None:
    losses = np.full(4000, 0.1) + 1e-3 * np.arange(4000) / 4000
    losses[:20] = np.linspace(3.0, 0.1, 20)
    assert axis_limits([arm_curves(arm(losses), "loss")]).high > 3.0


def test_limits_keep_an_arm_that_was_short() -> None:
    long, short = arm_curves(arm(np.linspace(0.02, 0.01, 4000)), "loss"), arm_curves(arm([0.9]), "loss")
    assert axis_limits([long, short]).high > 0.9


def test_limits_when_all_alive_values_are_equal() -> None:
    curves = arm_curves(arm([0.5, 0.5, 0.5], [0.5, 1e9, 1e9], diverged={1: 2}), "loss")
    assert axis_limits([curves]).high == pytest.approx(0.5, abs=0.1)


def test_limits_of_shares_hold_everything() -> None:
    curves = arm_curves(arm([0.99] * 300 + [0.0]), "loss")
    assert axis_limits([curves], bounds=(0.0, 1.0)).low <= 0.0


def test_limits_of_a_band_stop_at_the_bounds() -> None:
    curves = arm_curves(arm([0.1, 0.9], [0.5, 0.9], [0.9, 0.9]), "loss")
    limits = axis_limits([curves], bounds=(0.0, 1.0))
    assert (limits.low, limits.high) == pytest.approx((-0.04, 1.04))


def test_limits_of_constant_ones_stay_near_one() -> None:
    limits = axis_limits([arm_curves(arm([1.0, 1.0]), "loss")], bounds=(0.0, 1.0))
    assert 0.9 < limits.low < 1.0 < limits.high < 1.01


def test_limits_hold_zero_on_demand() -> None:
    limits = axis_limits([arm_curves(arm([5.0, 6.0]), "loss")], zero=True)
    assert limits.low < 0.0


def test_limits_on_a_log_axis_are_positive() -> None:
    limits = axis_limits([arm_curves(arm([1e-3, 1], [1e-3, 1], [1e-1, 1]), "loss", log=True)], log=True)
    assert 0 < limits.low < 1e-3
    assert limits.high > 1


def test_limits_of_nothing() -> None:
    limits = axis_limits([arm_curves(arm([NAN]), "loss")])
    assert (limits.low, limits.high) == (0.0, 1.0)


# block means


@pytest.mark.parametrize(
    ("epochs", "width"),
    [(1, 1), (500, 1), (501, 5), (1000, 5), (1250, 5), (1251, 10), (4000, 20), (250_000, 1000)],
)
def test_block_width(epochs: int, width: int) -> None:
    assert block_width(epochs) == width


def test_block_means_by_hand() -> None:
    middles, means = block_means(np.arange(1, 6), np.array([1.0, 3.0, NAN, 5.0, 8.0]), 2)
    assert middles.tolist() == [1.5, 3.5, 5.0]
    assert means.tolist() == [2.0, 5.0, 8.0]


def test_block_means_that_begin_inside_a_block() -> None:
    middles, means = block_means(np.array([4, 5, 6]), np.array([1.0, 2.0, 4.0]), 5)
    assert middles.tolist() == [4.5, 6.0]
    assert means.tolist() == [1.5, 4.0]


def test_a_block_without_values_has_no_mean() -> None:
    assert np.isnan(block_means(np.arange(1, 5), np.array([NAN, NAN, 1.0, 1.0]), 2)[1][0])


def test_block_means_in_log_space_are_geometric() -> None:
    assert block_means(np.arange(1, 3), np.array([0.1, 10.0]), 2, log=True)[1] == pytest.approx([1.0])
