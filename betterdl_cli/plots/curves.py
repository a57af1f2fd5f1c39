"""Learning curves of a treatment and its control in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from betterdl_cli.analysis.curves import (
    LOG_DECADES,
    VALIDATION,
    Curves,
    Ending,
    Limits,
    are_shares,
    arm_curves,
    axis_limits,
    block_width,
    endings,
    identical_until,
    is_loss,
    panel_metrics,
    wants_log_axis,
)
from betterdl_cli.analysis.histories import ArmHistories
from betterdl_cli.plots import style

_ROLES = ("control", "treatment")
_COLOURS = (style.CONTROL, style.TREATMENT)


@dataclass(frozen=True)
class _Panel:
    """One metric of both arms. ``curves`` holds, per arm, training and validation, as far as recorded."""

    metric: str
    label: str
    curves: tuple[Mapping[str, Curves], Mapping[str, Curves]]
    limits: Limits
    log: bool


def draw_curves(
    control: ArmHistories,
    treatment: ArmHistories,
    *,
    title: str,
    note: str = "",
    validation_is_test: bool = False,
) -> Figure:
    """The loss above, the accuracy (or another score) below, both arms, training solid and validation dashed.

    From three runs on an arm is drawn as mean and 95 % t band while all its runs are alive, otherwise as
    single runs. Which is the case, and whatever does not fit into the picture, is written into it. When runs
    ended before the longest one, a further panel counts those still training.

    :param note: more to be said below the picture
    :param validation_is_test: the validation data are the test data; the legend says so
    Raises ValueError when an arm has no epochs or the arms have no metric in common.
    """
    arms = (control, treatment)
    panels = [_plan(arms, metric) for metric in panel_metrics(control, treatment)]
    longest = max(arm.longest for arm in arms)
    ends = [endings(arm, longest) for arm in arms]
    ended = any(ends)
    caption = style.wrapped(_notes(arms, panels, note))
    keys = _keys(arms, panels, validation_is_test)
    with style.styled():
        figure, axes = style.lay_out(title, keys, caption, panels=len(panels), slim=ended)
        for panel, ax in zip(panels, axes, strict=False):
            _draw_panel(ax, panel, arms, ends, longest)
        if ended:
            lines = [
                style.Alive(len(arm.runs), end, style.Look(colour, gid=f"{role} alive"))
                for arm, end, role, colour in zip(arms, ends, _ROLES, _COLOURS, strict=True)
            ]
            style.draw_alive(axes[-1], "runs", longest, lines)
        style.set_epochs(axes[-1], longest)
    return figure


def value_label(metric: str, share: bool) -> str:
    """A metric with its unit."""
    name = metric.removeprefix(VALIDATION).replace("_", " ")
    return f"{name} (share correct)" if share else name


def _plan(arms: tuple[ArmHistories, ArmHistories], metric: str) -> _Panel:
    curves = (_both(arms[0], metric, log=False), _both(arms[1], metric, log=False))
    values = [one.values for arm in curves for one in arm.values()]
    share = are_shares(metric, values)
    label = value_label(metric, share)
    if wants_log_axis(metric, values):
        logs = (_both(arms[0], metric, log=True), _both(arms[1], metric, log=True))
        limits = axis_limits([one for arm in logs for one in arm.values()], log=True)
        # Without the decades of a diverged run that the axis cuts off, the rest may need no log axis.
        if limits.high > 10.0**LOG_DECADES * limits.low:
            return _Panel(metric, label, logs, limits, log=True)
    finite = np.concatenate([one[np.isfinite(one)] for one in values])
    positive = is_loss(metric) and bool((finite >= 0).all())
    bounds = (0.0 if share or positive else -np.inf, 1.0 if share else np.inf)
    limits = axis_limits([one for arm in curves for one in arm.values()], bounds=bounds)
    before, after = ({part: one.within(bounds) for part, one in arm.items()} for arm in curves)
    return _Panel(metric, label, (before, after), limits, log=False)


def _both(arm: ArmHistories, metric: str, *, log: bool) -> dict[str, Curves]:
    recorded = {name for history in arm.runs.values() for name in history}
    parts = {"train": metric, "validation": VALIDATION + metric}
    return {part: arm_curves(arm, name, log=log) for part, name in parts.items() if name in recorded}


def _notes(arms: Sequence[ArmHistories], panels: Sequence[_Panel], note: str) -> list[str]:
    notes = [line for panel in panels for line in style.cut_note(panel.metric.replace("_", " "), panel.limits)]
    notes += block_note(max(arm.longest for arm in arms))
    notes += [line for arm in arms for line in diverged_note(arm)]
    if any(_hidden_until(panel, part) for panel in panels for part in panel.curves[0]):
        under, over = (style.short(arm.name, 32) for arm in arms)
        beneath = (
            f"{under} is the wide pale line beneath {over}" if under != over else "the wide pale line is the first"
        )
        notes.append(f"Where curves are identical, {beneath}.")
    if any(panel.metric == "loss" for panel in panels):
        notes += penalty_note(*arms)
    return notes + ([note] if note.strip() else [])


def _hidden_until(panel: _Panel, part: str) -> int:
    """Up to which epoch the treatment would hide the control."""
    control, treatment = (curves.get(part) for curves in panel.curves)
    return 0 if control is None or treatment is None else identical_until(control, treatment)


def block_note(epochs: int) -> list[str]:
    """How to read the lines of a long training."""
    width = block_width(epochs)
    return [f"Lines: means over {width} epochs; pale behind them: every epoch."] if width > 1 else []


def diverged_note(arm: ArmHistories) -> list[str]:
    """How many runs of the arm diverged, and when the first did."""
    when = [end.diverged for end in endings(arm, arm.longest).values() if end.diverged is not None]
    if not when:
        return []
    name, runs = style.short(arm.name), len(arm.runs)
    if runs == 1:
        return [f"{name} diverged at epoch {when[0]}."]
    share = f"{len(when)} of {runs}" if len(when) < runs else "both" if runs == 2 else f"all {runs}"
    return [f"{name}: {share} runs diverged, {'first ' if len(set(when)) > 1 else ''}at epoch {min(when)}."]


def penalty_note(control: ArmHistories, treatment: ArmHistories) -> list[str]:
    """Which losses include a regularisation penalty and so are no plain losses."""
    if control.penalised and treatment.penalised:
        return ["The loss of both arms includes the regularisation penalty."]
    if not (control.penalised or treatment.penalised):
        return []
    plain, penalised = (control, treatment) if treatment.penalised else (treatment, control)
    names = style.short(penalised.name, 32), style.short(plain.name, 32)
    return [f"The loss of {names[0]} includes its regularisation penalty; {names[1]} has none."]


def _keys(arms: Sequence[ArmHistories], panels: Sequence[_Panel], validation_is_test: bool) -> dict[str, Artist]:
    """The legend: the arms by colour, training and validation by line."""
    keys: dict[str, Artist] = {}
    for arm, colour in zip(arms, _COLOURS, strict=True):
        label = f"{style.short(arm.name)} ({style.counted(len(arm.runs), 'run')})"
        while label in keys:  # a legend entry of its own, whatever the names
            label += " "
        keys[label] = Line2D([], [], color=colour, linewidth=3)
    shown = {part for panel in panels for arm in panel.curves for part in arm}
    for part in ("train", "validation"):
        if part in shown:
            label = "validation (= test set)" if part == "validation" and validation_is_test else part
            dashes = style.dashes(part == "validation")
            keys[label] = Line2D([], [], color=style.PALE, linewidth=1.5, linestyle=dashes)
    return keys


def _draw_panel(
    axes: Axes,
    panel: _Panel,
    arms: Sequence[ArmHistories],
    ends: Sequence[Mapping[int, Ending]],
    longest: int,
) -> None:
    style.name_panel(axes, _manner(panel, arms))
    style.set_values(axes, panel.label, panel.limits, log=panel.log)
    for role, colour, parts, ended in zip(_ROLES, _COLOURS, panel.curves, ends, strict=True):
        for part, curves in parts.items():
            look = style.Look(
                colour,
                gid=f"{role} {part}",
                dashed=part == "validation",
                marked=longest <= style.FEW_EPOCHS,
                block=block_width(longest),
                wide_until=_hidden_until(panel, part) if role == "control" else 0,
            )
            style.draw_mean(axes, curves, panel.limits, look)
            if curves.shows_singles:
                style.draw_singles(axes, curves, panel.limits, look, start=curves.single_from)
            style.mark_ends(axes, curves, ended, panel.limits, look)


def _manner(panel: _Panel, arms: Sequence[ArmHistories]) -> str:
    """How the arms are drawn, in words: of both when they agree, else of each."""
    manners = [_words(list(parts.values()), log=panel.log) for parts in panel.curves]
    longer = max(manners, key=len)
    if longer.startswith(min(manners, key=len)):  # "while all runs train" holds for an arm without early ends too
        return longer
    return "; ".join(f"{style.short(arm.name, 20)}: {words}" for arm, words in zip(arms, manners, strict=True))


def _words(curves: Sequence[Curves], *, log: bool) -> str:
    """How the curves of runs are drawn, in words."""
    if not any(len(one.epochs) for one in curves):
        return "no finite values"
    if not any(one.center.size for one in curves):
        return "single runs"
    words = f"{'geometric mean' if log else 'mean'}, 95 % t band"
    ended = any(one.shows_singles for one in curves)
    return f"{words} while all runs train, then single runs" if ended else words
