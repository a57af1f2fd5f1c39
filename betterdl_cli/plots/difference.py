"""What a technique changed, epoch by epoch: treatment minus control, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from betterdl_cli.analysis.curves import (
    VALIDATION,
    Curves,
    Ending,
    Limits,
    are_shares,
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
from betterdl_cli.plots.curves import block_note, diverged_note, penalty_note


@dataclass(frozen=True)
class _Panel:
    words: str
    heading: str
    remark: str
    label: str
    curves: Curves
    limits: Limits


def draw_difference(
    control: ArmHistories,
    treatment: ArmHistories,
    *,
    title: str,
    note: str = "",
    outcome: str = "",
    validation_is_test: bool = False,
) -> Figure:
    """Treatment minus control per epoch, paired by seed: the loss above, the accuracy or another score below.

    Validation metrics where both arms have them, else those of training; the headings say which. Single pairs
    are thin lines; from three pairs on their mean and 95 % t band lies over them while all pairs are alive.

    :param note: more to be said below the picture
    :param outcome: how the scores of the final models differ; said where the histories do not show it
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
    if _part_later(control, treatment, panels, outcome):
        panels = [replace(panel, remark=" (identical while both train)") for panel in panels]
        later = "the final models differ by what came after (longer training, or restored weights)."
        note = " ".join(part for part in (f"While both train, the runs are the same; {later}", outcome, note) if part)
    ends = pair_endings(control, treatment)
    caption = style.wrapped(_notes(control, treatment, panels, note))
    pairs = len(common_seeds(control, treatment))
    averaged = any(panel.curves.center.size for panel in panels)
    with style.styled():
        figure, axes = style.lay_out(title, _keys(pairs, averaged), caption, panels=len(panels), slim=bool(ends))
        for panel, ax in zip(panels, axes, strict=False):
            _draw_panel(ax, panel, ends, longest)
        if ends:
            line = style.Alive(pairs, ends, style.Look(style.DIFFERENCE, gid="pairs alive"))
            style.draw_alive(axes[-1], "pairs", longest, [line])
        style.set_epochs(axes[-1], longest)
    return figure


def _plan(control: ArmHistories, treatment: ArmHistories, metric: str, validation_is_test: bool) -> _Panel:
    validated = all(
        any(VALIDATION + metric in history for history in arm.runs.values()) for arm in (control, treatment)
    )
    name = VALIDATION + metric if validated else metric
    curves = pair_curves(control, treatment, name)
    data = ("validation (= test set)" if validation_is_test else "validation") if validated else "training"
    words = metric.replace("_", " ")
    names = f"{style.short(treatment.name, 32)} − {style.short(control.name, 32)}"
    remark = "" if len(curves.epochs) else " (no finite values)"
    remark = " (all differences are 0)" if _all_zero(curves) else remark
    heading = f"{data} {words}: {names}"
    label = f"difference in {words}" + _hint(control, treatment, metric)
    share = are_shares(metric, [run[name] for arm in (control, treatment) for run in arm.runs.values() if name in run])
    bounds = (-1.0, 1.0) if share else (-math.inf, math.inf)
    limits = axis_limits([curves], bounds=bounds, zero=True, all_singles=True)
    return _Panel(words, heading, remark, label, curves.within(bounds), limits)


def _part_later(control: ArmHistories, treatment: ArmHistories, panels: list[_Panel], outcome: str) -> bool:
    """Whether the pairs are the same while both train, and their final models are not."""
    if not all(_all_zero(panel.curves) for panel in panels):
        return False
    seeds = common_seeds(control, treatment)
    return bool(outcome) or any(control.runs[seed].epochs != treatment.runs[seed].epochs for seed in seeds)


def _all_zero(curves: Curves) -> bool:
    finite = curves.values[np.isfinite(curves.values)]
    return bool(finite.size and not finite.any())


def _hint(control: ArmHistories, treatment: ArmHistories, metric: str) -> str:
    """Which side of zero is better, as far as that can be said."""
    if metric == "loss" and control.penalised != treatment.penalised:
        return ""  # a penalty is no worse fit
    return {-1: "\nbelow zero = better", 0: "", 1: "\nabove zero = better"}[better_sign(metric)]


def _notes(control: ArmHistories, treatment: ArmHistories, panels: list[_Panel], note: str) -> list[str]:
    notes = [line for panel in panels for line in style.cut_note(f"difference in {panel.words}", panel.limits)]
    notes += block_note(longest_pair(control, treatment))
    if any(panel.curves.center.size and panel.curves.shows_singles for panel in panels):
        notes.append("The mean and its band end with the first pair that ends.")
    seeds = common_seeds(control, treatment)
    if not len(seeds) == len(control.runs) == len(treatment.runs):
        found = [
            f"{style.short(arm.name, 32)} has {style.counted(len(arm.runs), 'seed')}" for arm in (control, treatment)
        ]
        notes.append(f"Paired over the {style.counted(len(seeds), 'common seed')}: {', '.join(found)}.")
    if any(control.runs[seed].epochs != treatment.runs[seed].epochs for seed in seeds):
        notes.append("A pair ends with the shorter of its runs.")
    if any(end.diverged is not None for end in pair_endings(control, treatment).values()):
        notes.append("A pair is not drawn beyond the epoch (×) at which one of its runs diverged.")
    for arm in (control, treatment):
        notes += diverged_note(arm)
    if any(panel.words == "loss" for panel in panels):
        notes += penalty_note(control, treatment)
    return notes + ([note] if note.strip() else [])


def _keys(pairs: int, averaged: bool) -> dict[str, Artist]:
    single = Line2D([], [], color=style.BEHIND if averaged else style.PALE, linewidth=1.0)
    if not averaged:
        return {style.counted(pairs, "single pair"): single}
    mean = Line2D([], [], color=style.DIFFERENCE, linewidth=2.0)
    band = Patch(facecolor=style.DIFFERENCE, alpha=0.25)
    return {f"mean of {pairs} pairs": mean, "single pairs": single, "95 % t band": band}


def _draw_panel(axes: Axes, panel: _Panel, ends: Mapping[int, Ending], longest: int) -> None:
    style.name_panel(axes, panel.heading + panel.remark)
    style.set_values(axes, panel.label, panel.limits)
    wide = _all_zero(panel.curves)  # to be seen under lines that all lie on it
    colour, width = (style.ZERO, 7.0) if wide else ("black", 1.0)
    axes.axhline(0.0, color=colour, linewidth=width, zorder=2.9, gid="zero")
    marked, block = longest <= style.FEW_EPOCHS, block_width(longest)
    behind = style.BEHIND if panel.curves.center.size else style.PALE
    single = style.Look(behind, gid="pair", marked=marked, block=block)
    mean = style.Look(style.DIFFERENCE, gid="pairs", marked=marked, block=block)
    style.draw_singles(axes, panel.curves, panel.limits, single)
    style.draw_mean(axes, panel.curves, panel.limits, mean)
    style.mark_ends(axes, panel.curves, ends, panel.limits, mean)
