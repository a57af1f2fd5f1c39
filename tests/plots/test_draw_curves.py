import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from betterdl_cli.analysis.histories import ArmHistories
from betterdl_cli.history import History
from betterdl_cli.plots import style
from betterdl_cli.plots.curves import draw_curves

NAN = math.nan


def arm(
    name: str,
    *losses: Sequence[float],
    metrics: Sequence[str] = ("loss", "val_loss"),
    diverged: Mapping[int, int] | None = None,
    penalised: bool = False,
) -> ArmHistories:
    """One run per series, which stands for every metric."""
    runs = {
        seed: History({metric: np.array(loss, dtype=float) for metric in metrics}) for seed, loss in enumerate(losses)
    }
    return ArmHistories(name, runs, diverged or {}, penalised)


def noisy(name: str, seeds: int, epochs: int, floor: float = 0.1, rate: float = 0.01) -> ArmHistories:
    runs = {}
    for seed in range(seeds):
        noise = 1 + 0.05 * np.random.default_rng(seed).standard_normal(epochs)
        loss = np.abs((floor + 0.7 * np.exp(-rate * np.arange(epochs))) * noise)
        score = np.clip(1 - loss, 0, 1)
        runs[seed] = History({"loss": loss, "val_loss": 1.2 * loss, "accuracy": score, "val_accuracy": 0.9 * score})
    return ArmHistories(name, runs)


def draw(control: ArmHistories, treatment: ArmHistories, folder: Path | None = None, **options: object) -> Figure:
    figure = draw_curves(control, treatment, title="title", **options)  # type: ignore[arg-type]
    style.save(figure, folder / "picture.png") if folder else None
    return figure


def artist(axes: Axes, gid: str) -> Artist | None:
    return next((one for one in axes.get_children() if one.get_gid() == gid), None)


def line(axes: Axes, gid: str) -> Line2D:
    found = artist(axes, gid)
    assert isinstance(found, Line2D), f"no line '{gid}'"
    return found


def data(axes: Axes, gid: str) -> list[list[float]]:
    return np.asarray(line(axes, gid).get_data(), dtype=float).tolist()


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def caption(figure: Figure) -> str:
    return figure.texts[1].get_text().replace("\n", " ")


CONTROL = arm("control", [1, 2], [2, 3], [3, 4])
TREATMENT = arm("dropout", [2, 1], [3, 2], [4, 3])


def test_means_of_both_arms_are_drawn() -> None:
    [loss] = draw(CONTROL, TREATMENT).axes
    assert data(loss, "control train mean") == [[1, 2], [2, 3]]
    assert data(loss, "treatment validation mean") == [[1, 2], [3, 2]]


def test_a_band_surrounds_each_mean() -> None:
    [loss] = draw(CONTROL, TREATMENT).axes
    for gid in ("control train", "control validation", "treatment train", "treatment validation"):
        assert artist(loss, f"{gid} band") is not None


def test_colour_tells_the_arm_and_dashes_the_validation() -> None:
    [loss] = draw(CONTROL, TREATMENT).axes
    assert line(loss, "control train mean").get_color() == line(loss, "control validation mean").get_color()
    assert line(loss, "control train mean").get_color() != line(loss, "treatment train mean").get_color()
    assert line(loss, "control train mean").get_linestyle() == "-"
    assert line(loss, "control validation mean").get_linestyle() == "--"


def test_legend_names_arms_with_their_runs() -> None:
    figure = draw(CONTROL, arm("dropout", [1, 2]))
    assert legend(figure) == ["control (3 runs)", "dropout (1 run)", "train", "validation"]


def test_legend_says_when_the_validation_is_the_test_set() -> None:
    assert "validation (= test set)" in legend(draw(CONTROL, TREATMENT, validation_is_test=True))


def test_histories_without_validation_have_no_dashed_lines() -> None:
    arms = [arm(name, [1, 2], metrics=["loss"]) for name in ("control", "dropout")]
    figure = draw(*arms)
    assert legend(figure) == ["control (1 run)", "dropout (1 run)", "train"]
    assert artist(figure.axes[0], "control validation run 0") is None


def test_loss_above_accuracy_with_units() -> None:
    arms = [arm(name, [0.5, 0.6], metrics=["accuracy", "loss"]) for name in ("control", "dropout")]
    figure = draw(*arms)
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy (share correct)"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "epoch"]


def test_accuracy_in_percent_claims_no_share() -> None:
    arms = [arm(name, [50.0, 60.0], metrics=["accuracy"]) for name in ("control", "dropout")]
    assert draw(*arms).axes[0].get_ylabel() == "accuracy"


def test_heading_says_mean_and_band() -> None:
    assert draw(CONTROL, TREATMENT).axes[0].get_title(loc="left") == "mean, 95 % t band"


def test_heading_says_single_runs() -> None:
    few = arm("control", [1, 2], [2, 3])
    assert draw(few, few).axes[0].get_title(loc="left") == "single runs"


def test_heading_tells_arms_apart_when_they_differ() -> None:
    heading = draw(CONTROL, arm("dropout", [1, 2])).axes[0].get_title(loc="left")
    assert heading == "control: mean, 95 % t band; dropout: single runs"


def test_two_runs_are_drawn_singly() -> None:
    [loss] = draw(arm("control", [1, 2], [3, 4]), TREATMENT).axes
    assert data(loss, "control train run 1") == [[1, 2], [3, 4]]
    assert artist(loss, "control train mean") is None


def test_losses_over_decades_get_a_log_axis_and_geometric_means() -> None:
    control = arm("control", [1.0, 0.001], [10.0, 0.001], [0.1, 0.001])
    [loss] = draw(control, control).axes
    assert loss.get_yscale() == "log"
    assert data(loss, "control train mean")[1] == pytest.approx([1.0, 0.001])
    assert loss.get_title(loc="left") == "geometric mean, 95 % t band"


def test_a_loss_of_zero_keeps_the_axis_linear(tmp_path: Path) -> None:
    zero = arm("control", [1.0, 0.0], [10.0, 0.0], [0.1, 0.0])
    assert draw(zero, zero, tmp_path).axes[0].get_yscale() == "linear"


def test_after_the_first_end_single_runs_follow_the_mean() -> None:
    treatment = arm("early", [1, 1, 1, 1], [2, 2], [3, 3, 3])
    loss = draw(arm("control", [1] * 4, [1] * 4, [1] * 4), treatment).axes[0]
    assert data(loss, "treatment train mean") == [[1, 2], [2, 2]]
    assert data(loss, "treatment train run 0") == [[2, 3, 4], [1, 1, 1]]
    assert artist(loss, "control train run 0") is None
    assert loss.get_title(loc="left") == "mean, 95 % t band while all runs train, then single runs"


def test_runs_still_training_are_counted_in_a_panel_of_their_own() -> None:
    treatment = arm("early", [1, 1, 1, 1], [2, 2], [3, 3, 3])
    figure = draw(arm("control", [1] * 4), treatment)
    alive = figure.axes[-1]
    assert alive.get_ylabel() == "runs\ntraining"
    assert artist(alive, "treatment alive").get_data().values.tolist() == [3, 3, 2, 1]  # type: ignore[union-attr]
    assert artist(alive, "control alive").get_data().values.tolist() == [1, 1, 1, 1]  # type: ignore[union-attr]


def test_runs_of_equal_length_need_no_such_panel() -> None:
    assert len(draw(CONTROL, TREATMENT).axes) == 1


def test_stopped_runs_end_in_dots() -> None:
    loss = draw(arm("control", [1] * 4), arm("early", [5, 6], [7, 8, 9])).axes[0]
    assert data(loss, "treatment train stopped") == [[2, 3], [6, 9]]
    assert line(loss, "treatment train stopped").get_marker() == "o"
    assert artist(loss, "control train stopped") is None


def test_diverged_runs_end_in_crosses_and_are_named(tmp_path: Path) -> None:
    control = arm("control", [1, 1, NAN, NAN], [1, 1, 1, 1], [1, 2, 3, 4], diverged={0: 3, 2: 4})
    figure = draw(control, arm("clipping", [1] * 4), tmp_path)
    assert data(figure.axes[0], "control train diverged") == [[3, 4], [1, 4]]
    assert line(figure.axes[0], "control train diverged").get_marker() == "x"
    assert "control: 2 of 3 runs diverged, first at epoch 3." in caption(figure)
    assert figure.axes[-1].get_title(loc="left") == "× diverged   alive: in training and not diverged"


def test_an_exploding_run_does_not_flatten_the_others(tmp_path: Path) -> None:
    steady = list(np.linspace(0.7, 0.3, 50))
    exploded = [0.7, *np.geomspace(5, 1e9, 49)]
    control = arm("control", exploded, steady, steady, diverged={0: 2})
    figure = draw(control, arm("clipping", steady, steady, steady), tmp_path)
    assert figure.axes[0].get_ylim()[1] < 2
    assert "The axis of the loss is cut: lines or bands reach up to 1e+09." in caption(figure)
    assert line(figure.axes[0], "control train diverged").get_ydata()[0] <= figure.axes[0].get_ylim()[1]  # type: ignore[index]


def test_an_arm_that_diverged_at_once_says_so(tmp_path: Path) -> None:
    lost = arm("hot", [NAN, NAN], [NAN, NAN], [NAN, NAN], diverged={0: 1, 1: 1, 2: 1})
    figure = draw(CONTROL, lost, tmp_path)
    assert figure.axes[0].get_title(loc="left") == "control: mean, 95 % t band; hot: no finite values"
    assert "hot: all 3 runs diverged, at epoch 1." in caption(figure)


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([[1, NAN]], "hot diverged at epoch 2."),
        ([[1, NAN], [NAN, NAN]], "hot: both runs diverged, first at epoch 1."),
        ([[1, NAN], [1, 2], [1, 2]], "hot: 1 of 3 runs diverged, at epoch 2."),
        ([[1, NAN], [NAN, 2], [1, 2]], "hot: 2 of 3 runs diverged, first at epoch 1."),
    ],
)
def test_how_many_runs_diverged_is_said(losses: list[list[float]], words: str) -> None:
    assert caption(draw(CONTROL, arm("hot", *losses))) == words


@pytest.mark.parametrize("first", [1, 2])
def test_a_run_diverged_at_the_same_epoch_in_every_panel(tmp_path: Path, first: int) -> None:
    lost = History({"loss": np.array([0.7] * (first - 1) + [NAN]), "accuracy": np.full(first, 0.5)})
    steady = arm("control", [0.7, 0.6, 0.5], metrics=["loss", "accuracy"])
    loss, accuracy, _ = draw(steady, ArmHistories("hot", {0: lost}), tmp_path).axes
    marks = [data(panel, "treatment train diverged") for panel in (loss, accuracy)]
    assert [mark[0] for mark in marks] == [[first], [first]]
    assert marks[0][1] == [loss.get_ylim()[1] if first == 1 else 0.7]
    assert marks[1][1] == [0.5]


def test_diverged_runs_are_drawn_on_and_not_counted_as_alive() -> None:
    hot = arm("hot", [9, 9, 9], [9, 9, 9], diverged={0: 1, 1: 1})
    loss, alive = draw(arm("control", [1, 1, 1], [2, 2, 2]), hot).axes
    assert data(loss, "treatment train run 0") == [[1, 2, 3], [9, 9, 9]]
    assert alive.get_ylabel() == "runs\nalive"
    assert alive.get_title(loc="left") == "× diverged   alive: in training and not diverged"


def test_a_band_stays_where_a_share_can_be() -> None:
    shares = arm("control", [0.1, 0.9], [0.5, 0.9], [0.9, 0.9], metrics=["accuracy"])
    [accuracy] = draw(shares, arm("dropout", [0.5, 0.5], metrics=["accuracy"])).axes
    band = artist(accuracy, "control train band")
    assert isinstance(band, PolyCollection)
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.0, 1.0)


def test_a_control_under_identical_curves_is_seen(tmp_path: Path) -> None:
    control = arm("control", [3, 2, 1], [3, 2, 2])
    figure = draw(control, arm("early", [3, 2], [3, 2]), tmp_path)
    [loss, _] = figure.axes
    assert data(loss, "control train run 0 wide") == [[1, 2], [3, 2]]
    assert data(loss, "control train run 0") == [[1, 2, 3], [3, 2, 1]]
    assert (
        line(loss, "control train run 0 wide").get_linewidth() > 3 * line(loss, "treatment train run 0").get_linewidth()
    )
    assert artist(loss, "treatment train run 0 wide") is None
    assert caption(figure) == "Where curves are identical, control is the wide pale line beneath early."


def test_curves_that_differ_need_no_wide_line() -> None:
    figure = draw(CONTROL, TREATMENT)
    assert artist(figure.axes[0], "control train mean wide") is None
    assert caption(figure) == ""


def test_an_arm_compared_with_itself_is_called_identical() -> None:
    assert caption(draw(CONTROL, CONTROL)) == "Where curves are identical, the wide pale line is the first."


def test_the_penalty_of_one_arm_is_mentioned() -> None:
    figure = draw(CONTROL, arm("l2", [1, 2], penalised=True))
    assert caption(figure) == "The loss of l2 includes its regularisation penalty; control has none."


def test_the_penalty_of_both_arms_is_mentioned() -> None:
    before, after = arm("l2", [1, 2], penalised=True), arm("l1", [2, 3], penalised=True)
    assert caption(draw(before, after)) == "The loss of both arms includes the regularisation penalty."


def test_a_note_is_written_below() -> None:
    assert caption(draw(CONTROL, TREATMENT, note="Mind the gap.")) == "Mind the gap."


def test_one_epoch_is_drawn_with_markers(tmp_path: Path) -> None:
    figure = draw(arm("control", [1], [2], [3]), arm("dropout", [2], [2], [3]), tmp_path)
    assert line(figure.axes[0], "control train mean").get_marker() == "o"
    assert artist(figure.axes[0], "control train band") is not None
    low, high = figure.axes[0].get_xlim()
    assert low < 1 < high


def test_a_treatment_that_ended_at_the_first_epoch_is_seen(tmp_path: Path) -> None:
    figure = draw(arm("control", [1] * 300, [2] * 300, [3] * 300), arm("early", [1], [2], [3]), tmp_path)
    assert data(figure.axes[0], "treatment train stopped") == [[1, 1, 1], [1, 2, 3]]


def test_accuracies_of_one_and_constant_losses(tmp_path: Path) -> None:
    control = arm("control", [1.0] * 20, [1.0] * 20, [1.0] * 20, metrics=["loss", "accuracy"])
    figure = draw(control, control, tmp_path)
    low, high = figure.axes[1].get_ylim()
    assert low < 1.0 < high < 1.05


@pytest.mark.parametrize("huge", [1e9, 1e38, 1e300])
def test_huge_losses_draw_without_a_warning(tmp_path: Path, huge: float) -> None:
    wild = arm("control", [0.5, huge, 0.5], [0.5, 0.4, huge], [huge, 0.5, 0.4], metrics=["loss", "val_loss"])
    draw(wild, TREATMENT, tmp_path)
    negative = arm("control", [0.5, huge, -huge], [0.5, 0.4, huge], [huge, 0.5, 0.4])
    draw(negative, TREATMENT, tmp_path)


def test_thirty_seeds_and_long_names(tmp_path: Path) -> None:
    long = "a_very_long_arm_name-" * 8
    figure = draw(noisy("control", 30, 40), ArmHistories(long, noisy("", 30, 40).runs), tmp_path)
    assert len(legend(figure)[1]) < 60
    assert "…" in legend(figure)[1]
    figure.canvas.draw()
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1


def test_long_trainings_show_block_means_over_every_epoch(tmp_path: Path) -> None:
    figure = draw(noisy("control", 3, 1000), noisy("dropout", 3, 1000, floor=0.2), tmp_path)
    assert len(line(figure.axes[0], "control train mean").get_xdata()) == 1000  # type: ignore[arg-type]
    assert len(line(figure.axes[0], "control train mean blocks").get_xdata()) == 200  # type: ignore[arg-type]
    assert caption(figure) == "Lines: means over 5 epochs; pale behind them: every epoch."


def test_ten_seeds_over_four_thousand_epochs_are_drawn_quickly(tmp_path: Path) -> None:
    arms = noisy("control", 10, 4000, floor=0.0005), noisy("noise", 10, 4000)
    draw(*arms, tmp_path)  # fonts are found once per process
    start = time.process_time()
    figure = draw(*arms, tmp_path)
    assert time.process_time() - start < 1.5
    assert figure.axes[0].get_yscale() == "log"


def test_arms_of_the_same_name_have_two_entries_in_the_legend() -> None:
    assert [text.strip() for text in legend(draw(CONTROL, CONTROL))[:2]] == ["control (3 runs)"] * 2


def test_arms_without_a_common_metric_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a metric common to"):
        draw(arm("a", [1], metrics=["loss"]), arm("b", [1], metrics=["accuracy"]))


def test_an_arm_without_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one trained epoch in arm 'bare'"):
        draw(CONTROL, ArmHistories("bare", {}))
