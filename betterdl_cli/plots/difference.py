"""What a technique changed, epoch by epoch: treatment minus control, paired by seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from betterdl_cli.analysis.curves import (
    FEWEST_FOR_BAND,
    VALIDATION,
    Curves,
    Ending,
    Limits,
    alive_counts,
    axis_limits,
    better_sign,
    block_width,
    common_seeds,
    longest_pair,
    pair_curves,
    pair_endings,
    panel_metrics,
)
from betterdl_cli.analysis.histories import ArmHistories
from betterdl_cli.plots import style
from betterdl_cli.plots.curves import block_note, diverged_note, manner, penalty_note


@dataclass(frozen=True)
class _Panel:
    words: str
    heading: str
    label: str
    curves: Curves
    limits: Limits


def draw_difference(
    control: ArmHistories,
    treatment: ArmHistories,
    *,
    title: str,
    note: str = "",
    validation_is_test: bool = False,
) -> Figure:
    """Treatment minus control per epoch over the common seeds: the loss above, the accuracy or another score below.

    Validation metrics where both arms have them, else those of training; the headings say which. Single pairs are
    thin lines; from three pairs on their mean and 95 % t band lies over them while all pairs are alive.

    :param note: more to be said below the picture
    :param validation_is_test: the validation data are the test data; the headings say so
    Raises ValueError when the arms share no seed or no metric, or no pair has an epoch.
    """
    longest = longest_pair(control, treatment)
    metrics = panel_metrics(control, treatment)
    if not longest:
        raise ValueError(
            f"expected seeds trained in both '{control.name}' and '{treatment.name}', "
            f"found {sorted(control.runs)} and {sorted(treatment.runs)}"
        )
    panels = [_plan(control, treatment, metric, validation_is_test) for metric in metrics]
    ends = pair_endings(control, treatment)
    caption = style.wrapped(_notes(control, treatment, panels, note))
    pairs = len(common_seeds(control, treatment))
    with style.styled():
        figure, axes = style.lay_out(title, _keys(pairs), caption, panels=len(panels), slim=bool(ends))
        for panel, ax in zip(panels, axes, strict=False):
            _draw_panel(ax, panel, ends, longest)
        if ends:
            counts = alive_counts(pairs, ends, longest)
            look = style.Look(style.DIFFERENCE, gid="pairs alive")
            style.draw_steps(axes[-1], "pairs\ntraining", [(counts, pairs, look)])
        style.set_epochs(axes[-1], longest)
    return figure


def _plan(control: ArmHistories, treatment: ArmHistories, metric: str, validation_is_test: bool) -> _Panel:
    validated = all(
        any(VALIDATION + metric in history for history in arm.runs.values()) for arm in (control, treatment)
    )
    curves = pair_curves(control, treatment, VALIDATION + metric if validated else metric)
    data = ("validation (= test set)" if validation_is_test else "validation") if validated else "training"
    words = metric.replace("_", " ")
    better = {-1: "below zero = better", 0: "", 1: "above zero = better"}[better_sign(metric)]
    names = f"{style.short(treatment.name, 32)} − {style.short(control.name, 32)}"
    heading = f"{data} {words}: {names}. {_capital(manner([curves], of='pairs'))}"
    label = f"difference in {words}\n{better}".strip()
    return _Panel(words, heading, label, curves, axis_limits([curves], zero=True, all_singles=True))


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _notes(control: ArmHistories, treatment: ArmHistories, panels: list[_Panel], note: str) -> list[str]:
    notes = [
        line for panel in panels for line in style.cut_note(f"difference in {panel.words}", panel.limits)
    ]
    notes += block_note(longest_pair(control, treatment))
    seeds = common_seeds(control, treatment)
    if not len(seeds) == len(control.runs) == len(treatment.runs):
        found = [
            f"{style.short(arm.name, 32)} has {style.counted(len(arm.runs), 'seed')}"
            for arm in (control, treatment)
        ]
        notes.append(f"Paired over the {style.counted(len(seeds), 'common seed')}: {', '.join(found)}.")
    if any(control.runs[seed].epochs != treatment.runs[seed].epochs for seed in seeds):
        notes.append("Each difference ends with the shorter run of its pair.")
    for arm in (control, treatment):
        notes += diverged_note(arm)
    if any(panel.words == "loss" for panel in panels):
        notes += penalty_note(control, treatment)
    return notes + ([note] if note.strip() else [])


def _keys(pairs: int) -> dict[str, Artist]:
    single = Line2D([], [], color=style.PALE, linewidth=1.0, alpha=0.8)
    if pairs < FEWEST_FOR_BAND:
        return {style.counted(pairs, "single pair"): single}
    mean = Line2D([], [], color=style.DIFFERENCE, linewidth=2.0)
    band = Patch(facecolor=style.DIFFERENCE, alpha=0.25)
    return {f"mean of {pairs} pairs": mean, "single pairs": single, "95 % t band": band}


def _draw_panel(axes: Axes, panel: _Panel, ends: Mapping[int, Ending], longest: int) -> None:
    style.name_panel(axes, panel.heading)
    style.set_values(axes, panel.label, panel.limits)
    axes.axhline(0.0, color="black", linewidth=1.0, zorder=2.9, gid="zero")
    marked, block = longest <= style.FEW_EPOCHS, block_width(longest)
    single = style.Look(style.PALE, gid="pair", marked=marked, block=block)
    mean = style.Look(style.DIFFERENCE, gid="pairs", marked=marked, block=block)
    style.draw_singles(axes, panel.curves, panel.limits, single)
    style.draw_mean(axes, panel.curves, panel.limits, mean)
    style.mark_ends(axes, panel.curves, ends, panel.limits, mean)
