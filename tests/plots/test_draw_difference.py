import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from betterdl_cli.analysis.histories import ArmHistories
from betterdl_cli.history import History
from betterdl_cli.plots import style
from betterdl_cli.plots.difference import draw_difference

NAN = math.nan


def arm(
    name: str,
    *losses: Sequence[float],
    metrics: Sequence[str] = ("loss", "val_loss"),
    first_seed: int = 0,
    diverged: Mapping[int, int] | None = None,
    penalised: bool = False,
) -> ArmHistories:
    """One run per series, which stands for every metric."""
    runs = {
        seed: History({metric: np.array(loss, dtype=float) for metric in metrics})
        for seed, loss in enumerate(losses, first_seed)
    }
    return ArmHistories(name, runs, diverged or {}, penalised)


def draw(control: ArmHistories, treatment: ArmHistories, folder: Path | None = None, **options: object) -> Figure:
    figure = draw_difference(control, treatment, title="title", **options)  # type: ignore[arg-type]
    style.save(figure, folder / "picture.png") if folder else None
    return figure


def artist(axes: Axes, gid: str) -> Artist | None:
    return next((one for one in axes.get_children() if one.get_gid() == gid), None)


def data(axes: Axes, gid: str) -> list[list[float]]:
    found = artist(axes, gid)
    assert isinstance(found, Line2D), f"no line '{gid}'"
    return np.asarray(found.get_data(), dtype=float).tolist()


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def caption(figure: Figure) -> str:
    return figure.texts[1].get_text().replace("\n", " ")


CONTROL = arm("control", [1, 1], [2, 2], [3, 3])
TREATMENT = arm("dropout", [2, 1], [4, 2], [6, 3])


def test_mean_and_single_pairs_are_treatment_minus_control() -> None:
    [loss] = draw(CONTROL, TREATMENT).axes
    assert data(loss, "pairs mean") == [[1, 2], [2, 0]]
    assert data(loss, "pair run 2") == [[1, 2], [3, 0]]
    assert artist(loss, "pairs band") is not None


def test_legend_says_how_many_pairs() -> None:
    assert legend(draw(CONTROL, TREATMENT)) == ["mean of 3 pairs", "single pairs", "95 % t band"]


def test_two_pairs_have_no_mean() -> None:
    figure = draw(arm("control", [1, 1], [2, 2]), TREATMENT)
    assert legend(figure) == ["2 single pairs"]
    assert artist(figure.axes[0], "pairs mean") is None


def test_zero_is_a_line_inside_the_axis() -> None:
    [loss] = draw(CONTROL, arm("worse", [11, 11], [12, 12], [13, 13])).axes
    low, high = loss.get_ylim()
    assert low < 0 < high
    assert data(loss, "zero")[1] == [0, 0]


def test_labels_say_what_is_better() -> None:
    arms = [arm(name, [0.5, 0.6], metrics=["val_loss", "val_accuracy"]) for name in ("control", "dropout")]
    assert [ax.get_ylabel() for ax in draw(*arms).axes] == [
        "difference in loss\nbelow zero = better",
        "difference in accuracy\nabove zero = better",
    ]


def test_an_unknown_metric_gets_no_direction() -> None:
    arms = [arm(name, [0.5, 0.6], metrics=["loss", "banana"]) for name in ("control", "dropout")]
    assert draw(*arms).axes[1].get_ylabel() == "difference in banana"


def test_a_penalty_in_one_arm_only_gets_no_direction() -> None:
    figure = draw(CONTROL, arm("l2", [2, 1], [4, 2], [6, 3], penalised=True))
    assert figure.axes[0].get_ylabel() == "difference in loss"
    assert "The loss of l2 includes its regularisation penalty; control has none." in caption(figure)


def test_heading_says_data_and_direction() -> None:
    assert draw(CONTROL, TREATMENT).axes[0].get_title(loc="left") == "validation loss: dropout − control"


def test_heading_says_when_the_validation_is_the_test_set() -> None:
    heading = draw(CONTROL, TREATMENT, validation_is_test=True).axes[0].get_title(loc="left")
    assert heading == "validation (= test set) loss: dropout − control"


def test_training_metrics_stand_in_when_there_is_no_validation() -> None:
    arms = arm("control", [0.5, 0.6], metrics=["loss"]), arm("dropout", [0.5, 0.7], metrics=["loss"])
    assert draw(*arms).axes[0].get_title(loc="left") == "training loss: dropout − control"


def test_unequal_seeds_are_admitted() -> None:
    figure = draw(CONTROL, arm("dropout", [1, 1], [1, 1], [1, 1], first_seed=1))
    assert legend(figure) == ["2 single pairs"]
    assert caption(figure) == "Paired over the 2 common seeds: control has 3 seeds, dropout has 3 seeds."


def test_the_mean_ends_with_the_first_pair(tmp_path: Path) -> None:
    figure = draw(arm("control", *[[1] * 4] * 3), arm("early", [2] * 4, [2] * 2, [2] * 3), tmp_path)
    loss, alive = figure.axes
    assert data(loss, "pairs mean") == [[1, 2], [1, 1]]
    assert data(loss, "pairs stopped") == [[2, 3], [1, 1]]
    assert artist(alive, "pairs alive").get_data().values.tolist() == [3, 3, 2, 1]  # type: ignore[union-attr]
    assert "The mean and its band end with the first pair that ends." in caption(figure)
    assert "A pair ends with the shorter of its runs." in caption(figure)


def test_the_epoch_axis_ends_with_the_longest_pair() -> None:
    figure = draw(arm("control", [1] * 500), arm("early", [2] * 20))
    assert 20 < figure.axes[0].get_xlim()[1] < 22


def test_a_diverged_run_does_not_flatten_the_others(tmp_path: Path) -> None:
    control = arm("control", [0.5] * 2 + [1e9] * 8, [0.5] * 10, [0.5] * 10, diverged={0: 3})
    treatment = arm("clipping", [0.4] * 10, [0.45] * 10, [0.4] * 10)
    figure = draw(control, treatment, tmp_path)
    assert figure.axes[0].get_ylim()[0] > -1
    assert "The axis of the difference in loss is cut: lines or bands reach down to −1e+09." in caption(figure)
    assert "control: 1 of 3 runs diverged, at epoch 3." in caption(figure)


def test_pairs_are_not_drawn_beyond_divergence(tmp_path: Path) -> None:
    hot = arm("hot", [2, 3, 5e11], [3, 4, 5e11], [4, 5, 5e11], diverged={0: 2, 1: 2, 2: 2})
    figure = draw(arm("control", [1] * 3, [1] * 3, [1] * 3), hot, tmp_path)
    [loss, _] = figure.axes
    assert data(loss, "pair run 0") == [[1, 2], [1, 2]]
    assert data(loss, "pairs diverged") == [[2, 2, 2], [2, 3, 4]]
    assert loss.get_ylim()[1] < 10  # the band of 1, 2, 3 ends at 2 + 2.48
    assert loss.get_xlim()[1] > 3
    assert "A pair is not drawn beyond the epoch (×) at which one of its runs diverged." in caption(figure)


def test_pairs_that_diverged_from_the_start_leave_their_marks(tmp_path: Path) -> None:
    hot = arm("hot", [3, 5e11], [4, 5e11], [5, 5e11], diverged={0: 1, 1: 1, 2: 1})
    [loss, _] = draw(CONTROL, hot, tmp_path).axes
    assert data(loss, "pairs diverged") == [[1, 1, 1], [2, 2, 2]]
    assert loss.get_ylim()[1] < 3


def test_zero_is_seen_when_all_differences_are_0(tmp_path: Path) -> None:
    [loss] = draw(CONTROL, arm("same", [1, 1], [2, 2], [3, 3]), tmp_path).axes
    zero, mean = artist(loss, "zero"), artist(loss, "pairs mean")
    assert isinstance(zero, Line2D)
    assert isinstance(mean, Line2D)
    assert zero.get_linewidth() > 3 * mean.get_linewidth()
    assert loss.get_title(loc="left") == "validation loss: same − control (all differences are 0)"


LATER = (
    "While both train, the runs are the same; the final models differ by what came after (longer training, or "
    "restored weights)."
)


def test_pairs_that_part_after_one_ended_are_not_called_equal(tmp_path: Path) -> None:
    stopped = arm("early_stopping", [1], [2], [3])
    figure = draw(CONTROL, stopped, tmp_path)
    heading = "validation loss: early_stopping − control (identical while both train)"
    assert figure.axes[0].get_title(loc="left") == heading
    assert LATER in caption(figure)


def test_restored_weights_are_not_called_equal() -> None:
    figure = draw(CONTROL, CONTROL, outcome="Final test accuracy: difference +0.060.")
    assert figure.axes[0].get_title(loc="left").endswith("(identical while both train)")
    assert caption(figure) == f"{LATER} Final test accuracy: difference +0.060."


def test_an_outcome_is_left_to_the_table_where_the_curves_differ() -> None:
    assert caption(draw(CONTROL, TREATMENT, outcome="Final test accuracy: difference +0.060.")) == ""


def test_the_band_of_shares_stays_where_their_differences_can_be() -> None:
    control = arm("control", [0.0], [0.0], [1.0], metrics=["accuracy"])
    [accuracy] = draw(control, arm("dropout", [0.9], [1.0], [1.0], metrics=["accuracy"])).axes
    band = artist(accuracy, "pairs band")
    assert isinstance(band, LineCollection)
    assert band.get_segments()[0][:, 1].max() == 1.0  # 0.63 + 1.37 without bounds


def test_pairs_without_finite_values_say_so(tmp_path: Path) -> None:
    lost = arm("hot", [NAN, NAN], [NAN, NAN], [NAN, NAN], diverged={0: 1, 1: 1, 2: 1})
    figure = draw(CONTROL, lost, tmp_path)
    assert figure.axes[0].get_title(loc="left") == "validation loss: hot − control (no finite values)"


def test_equal_arms_and_one_epoch(tmp_path: Path) -> None:
    one = arm("control", [1], [2], [3], metrics=["loss", "accuracy"])
    [loss, _] = draw(one, one, tmp_path).axes
    assert data(loss, "pairs mean") == [[1], [0]]
    assert isinstance(artist(loss, "pairs mean"), Line2D)


def test_differences_of_shares_are_never_cut() -> None:
    control = arm("control", [0.5] * 299 + [0.0], metrics=["accuracy"])
    figure = draw(control, arm("dropout", [0.501] * 300, metrics=["accuracy"]))
    assert figure.axes[0].get_ylim()[1] > 0.501


def test_a_note_is_written_below() -> None:
    assert caption(draw(CONTROL, TREATMENT, note="Mind the gap.")) == "Mind the gap."


@pytest.mark.parametrize("huge", [1e9, 1e38, 1e300])
def test_huge_losses_draw_without_a_warning(tmp_path: Path, huge: float) -> None:
    draw(CONTROL, arm("wild", [huge, 1], [-huge, 1], [huge, 1]), tmp_path)


def test_ten_pairs_over_four_thousand_epochs_are_drawn_quickly(tmp_path: Path) -> None:
    noise = np.abs(np.random.default_rng(0).standard_normal((2, 10, 4000))) / 10 + 0.1
    names = ["loss", "val_loss", "accuracy", "val_accuracy"]
    arms = [arm(name, *rows, metrics=names) for name, rows in zip(("control", "noise"), noise, strict=True)]
    draw(*arms, tmp_path)  # fonts are found once per process
    start = time.process_time()
    figure = draw(*arms, tmp_path)
    assert time.process_time() - start < 1.5
    assert caption(figure).startswith("Lines: means over 20 epochs")


def test_arms_without_common_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected seeds trained in both 'control' and 'far', found"):
        draw(CONTROL, arm("far", [1, 1], first_seed=7))
