"""What every technique of an experiment changed in one final score: one row each, best first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox, blended_transform_factory

from betterdl_cli.analysis.curves import CUT_FACTOR, Limits, is_accuracy
from betterdl_cli.analysis.verdict import Evidence, Verdict
from betterdl_cli.history import Series
from betterdl_cli.plots import style

MOST_ROWS = 60
HELPS = style.CONTROL
HURTS = "#B84A00"  # vermilion, darkened to be read as text
OPEN = "#4D4D4D"
PAIR = "#7A7A7A"
BAND = "#E6ECE4"

_EDGE, _GAP = 0.15, 0.16  # inches beside and between the columns
_ABOVE_CAPTION = 0.08  # inches more than other pictures have
_CAPTION_WIDTH = 110  # characters; the caption begins farther left than those of other pictures
_TALL = 20  # with more rows the numbers of the axis stand above the panel, too
_NAME_WIDTH, _NAME_LETTERS = 2.3, 36
_DOT, _DOT_STEP = 3.6, 3.2  # points: diameter of a dot, and from one to the next of a stack
_MEAN_AT, _DOTS_AT = -0.22, 0.17  # in rows from the middle of a row, downwards
_DOTS_ROOM = 0.20  # in rows, above and below the middle of the dots
_FAR_ENDS = 3.0  # ends of intervals stretch the axis up to so many times what the pairs need
_SMALL = (Verdict.NO_PRACTICAL_DIFFERENCE, Verdict.HELPS_LITTLE, Verdict.HURTS_LITTLE)


@dataclass(frozen=True)
class Effect:
    """One technique: ``differences`` are treatment − reference by seed, ``evidence`` is what they say."""

    name: str
    reference: str
    differences: Mapping[int, float]
    evidence: Evidence

    @property
    def values(self) -> Series:
        return np.array([self.differences[seed] for seed in sorted(self.differences)], dtype=np.float64)


def draw_effects(effects: Sequence[Effect], metric: str, title: str, note: str = "") -> Figure:
    """All pairs, their mean, its 95 % interval and the verdict of every technique, the best on top.

    Of more than :data:`MOST_ROWS` techniques those with the largest mean differences are drawn. A few pairs or
    intervals far away do not squeeze the others: they become arrows at the end of the axis. All that is written into
    the picture.

    :param metric: the name of the score, such as ``test_accuracy``
    :param note: more to be said below the picture
    Raises ValueError without effects, and when they differ in the direction of the metric or in the margin.
    """
    _check(effects)
    rows = _sorted(effects)
    limits = _limits(rows)
    caption = style.wrapped(_notes(effects, rows, limits, note), _CAPTION_WIDTH)
    height = len(rows) * (0.44 if len(rows) <= 12 else 0.36 if len(rows) <= 30 else 0.30)
    with style.styled():
        figure, [axes] = style.lay_out(
            title, _keys(rows), caption, panels=1, slim=False, panel_height=height + _ABOVE_CAPTION, edge=_EDGE
        )
        _write_columns(figure, axes, rows)
        _set_axis(figure, axes, rows, metric, limits)
        for index, effect in enumerate(rows):
            _draw_row(axes, index, effect, limits)
    return figure


def _check(effects: Sequence[Effect]) -> None:
    if not effects:
        raise ValueError("expected at least one technique, found none")
    for what, found in (
        ("direction", {effect.evidence.higher_is_better for effect in effects}),
        ("margin", {effect.evidence.margin for effect in effects}),
    ):
        if len(found) > 1:
            raise ValueError(f"expected techniques of one {what}, found {sorted(found, key=str)}")


def _sorted(effects: Sequence[Effect]) -> list[Effect]:
    """Best first, those without a pair last."""
    largest = sorted(effects, key=lambda effect: -abs(_mean(effect)) if effect.differences else math.inf)
    sign = 1 if effects[0].evidence.higher_is_better else -1
    return sorted(largest[:MOST_ROWS], key=lambda effect: -sign * _mean(effect) if effect.differences else math.inf)


def _mean(effect: Effect) -> float:
    return effect.evidence.mean_difference or 0.0


def _limits(rows: Sequence[Effect]) -> Limits:
    """Ends of the axis, with zero inside: pairs beyond ``CUT_FACTOR`` times the ordinary size do not stretch it.

    The band of the margin is shown whole unless it is several times as wide as all that is drawn.
    """
    margin = rows[0].evidence.margin
    values = _capped([*(value for row in rows for value in row.values), *(_mean(row) for row in rows)])
    ends = _capped([end for row in rows for end in row.evidence.ci95 or ()])
    sizes = np.abs(values[values != 0])
    ordinary = max(float(np.median(sizes)) if sizes.size else 0.0, margin or 0.0)
    near = values[np.abs(values) <= CUT_FACTOR * ordinary]
    reach = float(np.abs(near).max(initial=0.0)) or margin or 0.01
    shown = np.concatenate([[0.0], near, ends[np.abs(ends) <= _FAR_ENDS * max(reach, ordinary)]])
    if not shown.any():
        shown = np.array([-reach, reach])
    if margin is not None and margin <= _FAR_ENDS * np.abs(shown).max():
        shown = np.append(shown, [-margin, margin])
    low, high = float(shown.min()), float(shown.max())
    drawn = np.concatenate([values, ends])
    below, above = float(drawn.min(initial=0.0)), float(drawn.max(initial=0.0))
    room, wide = 0.06 * (high - low), 0.12 * (high - low)  # wide: for an arrow and its words
    low, high = low - (wide if below < low else room), high + (wide if above > high else room)
    return Limits(low, high, above if above > high else None, below if below < low else None)


def _capped(values: Sequence[float]) -> Series:
    """So that their spans are finite."""
    return np.clip(np.asarray(values, dtype=np.float64), -1e100, 1e100)


def _notes(effects: Sequence[Effect], rows: Sequence[Effect], limits: Limits, note: str) -> list[str]:
    notes = []
    if len(rows) < len(effects):
        notes.append(f"{len(effects)} techniques: shown are the {len(rows)} with the largest mean differences.")
    ends = (("down to", limits.below), ("up to", limits.above))
    beyond = [f"{words} {_signed(end)}" for words, end in ends if end is not None]
    if beyond:
        notes.append(
            "The axis is cut, and arrows at its ends stand for what lies beyond: "
            f"pairs or intervals reach {' and '.join(beyond)}."
        )
    margin = rows[0].evidence.margin
    if margin is not None and not limits.low <= -margin < margin <= limits.high:
        notes.append(f"The whole axis lies inside ±{margin:g}.")
    small = [row.evidence for row in rows if row.evidence.verdict in _SMALL]
    if margin is not None and any(max(map(abs, evidence.ci95 or (0.0,))) > margin for evidence in small):
        notes.append(
            f"That a difference is less than {margin:g} takes a {100 - 200 * small[0].alpha:g} % interval inside the "
            "band (two one-sided tests); the 95 % interval may leave it."
        )
    if any(len(row.differences) > 1 and row.evidence.ci95 is None for row in rows):
        notes.append("Differences that are the same in every pair have no interval.")
    tested = [row.evidence for row in rows if row.evidence.verdict is not Verdict.TOO_FEW]
    if tested:
        scopes = " or ".join(dict.fromkeys(evidence.scope for evidence in tested))
        corrected = len(tested) > 1 and any(evidence.p_adjusted is not None for evidence in tested)
        also = " and are corrected for the number of techniques; the intervals are not" if corrected else ""
        notes.append(f"Verdicts hold {scopes}{also}.")
    return notes + ([note] if note.strip() else [])


def _keys(rows: Sequence[Effect]) -> dict[str, Artist]:
    keys: dict[str, Artist] = {}
    means = [row for row in rows if row.differences]
    if any(row.evidence.ci95 for row in means):
        keys["mean with its 95 % interval"] = Line2D([], [], color=OPEN, marker="D", markersize=5.5, linewidth=1.4)
    elif means:
        keys["mean"] = Line2D([], [], color=OPEN, marker="D", markersize=5.5, linestyle="")
    if means:
        keys["one pair"] = Line2D([], [], color=PAIR, marker="o", markersize=_DOT, linestyle="")
    if any(not _proven(row.evidence.verdict) for row in means):
        hollow: dict[str, Any] = {"markerfacecolor": "white", "markersize": 5.5, "markeredgewidth": 1.2}
        keys["hollow: nothing proven"] = Line2D([], [], color=OPEN, marker="D", linestyle="", **hollow)
    margin = rows[0].evidence.margin
    if margin is not None:
        keys[f"less than {margin:g}: no practical difference"] = Patch(facecolor=BAND, edgecolor=style.ZERO)
    return keys


def _proven(verdict: Verdict) -> bool:
    return verdict.helps or verdict.hurts or verdict is Verdict.NO_PRACTICAL_DIFFERENCE


def _colour(verdict: Verdict) -> str:
    if verdict.helps or verdict is Verdict.PROVISIONALLY_HELPS:
        return HELPS
    if verdict.hurts or verdict is Verdict.PROVISIONALLY_HURTS:
        return HURTS
    return OPEN


def _words(effect: Effect) -> str:
    evidence = effect.evidence
    if not effect.differences:
        return "no pair"
    match evidence.verdict:
        case Verdict.HELPS_LITTLE | Verdict.HURTS_LITTLE:
            return f"{'helps' if evidence.verdict.helps else 'hurts'}, under {evidence.margin:g}"
        case Verdict.HELPS | Verdict.HURTS if evidence.at_least_theta:
            return f"{evidence.verdict}, {evidence.margin:g} or more"
    return str(evidence.verdict)


def _write_columns(figure: Figure, axes: Axes, rows: Sequence[Effect]) -> None:
    """Names on the left, verdicts and numbers of pairs on the right, and the panel in between."""
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    references = list(dict.fromkeys(row.reference for row in rows))
    against = style.short(references[0], 24) if len(references) == 1 else "reference"
    names = _column(axes, f"technique − {against}", [""] * len(rows), "left")
    for text, row in zip(names, rows, strict=False):
        _set_name(figure, text, row, len(references) > 1)
    verdicts = _column(axes, "verdict", [_words(row) for row in rows], "left")
    for text, row in zip(verdicts, rows, strict=False):
        text.set(color=_colour(row.evidence.verdict), weight="bold" if _proven(row.evidence.verdict) else "normal")
    counts = _column(axes, "pairs", [str(len(row.differences)) for row in rows], "right")
    widths = [max(_width(figure, text) for text in column) for column in (names, verdicts, counts)]
    right = style.WIDTH - _EDGE - widths[2] - _GAP - widths[1]
    for column, x in ((names, _EDGE), (verdicts, right), (counts, style.WIDTH - _EDGE)):
        for text in column:
            text.set_x(x / style.WIDTH)
    box = axes.get_position()
    left, bottom = _EDGE + widths[0] + _GAP, box.y0 + _ABOVE_CAPTION / figure.get_figheight()
    axes.set_position(Bbox.from_extents(left / style.WIDTH, bottom, (right - _GAP) / style.WIDTH, box.y1))


def _column(axes: Axes, heading: str, cells: Sequence[str], align: str) -> list[Text]:
    """The cells and then their heading, all at the left edge of the figure for the time being."""
    across = axes.figure.transFigure
    look: dict[str, Any] = {"fontsize": style.SMALL, "ha": align, "parse_math": False}
    beside = look | {"va": "center", "transform": blended_transform_factory(across, axes.transData)}
    above = look | {"va": "bottom", "transform": blended_transform_factory(across, axes.transAxes)}
    kind = heading.split()[0]
    texts = [axes.text(0.0, index, cell, gid=f"{kind} {index}", **beside) for index, cell in enumerate(cells)]
    return [*texts, axes.text(0.0, 1.0, heading, color=style.FAINT, gid=kind, **above)]


def _set_name(figure: Figure, text: Text, row: Effect, several: bool) -> None:
    """The longest form that fits, with the reference where the rows have several."""
    for letters in range(_NAME_LETTERS, 11, -1):
        against = f" − {style.short(row.reference, letters * 2 // 5)}" if several else ""
        text.set_text(style.short(row.name, letters - len(against)) + against)
        if _width(figure, text) <= _NAME_WIDTH:
            return


def _width(figure: Figure, text: Text) -> float:
    """Inches."""
    assert isinstance(figure.canvas, FigureCanvasAgg)
    renderer = figure.canvas.get_renderer()  # type: ignore[no-untyped-call]
    return text.get_window_extent(renderer).width / figure.dpi


def _set_axis(figure: Figure, axes: Axes, rows: Sequence[Effect], metric: str, limits: Limits) -> None:
    axes.set_xlim(limits.low, limits.high)
    axes.tick_params(axis="x", labeltop=len(rows) > _TALL)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed(value, 6)))
    side = "right" if rows[0].evidence.higher_is_better else "left"
    label = axes.set_xlabel(f"difference in {_metric_words(metric, rows)}; {side} = better", parse_math=False)
    box, half = axes.get_position(), _width(figure, label) / style.WIDTH / 2
    edge = _EDGE / style.WIDTH
    center = min(max((box.x0 + box.x1) / 2, edge + half), 1 - edge - half)
    label.set_x((center - box.x0) / box.width)
    for index in range(1, len(rows)):
        axes.axhline(index - 0.5, color="#EEEEEE", linewidth=0.6, zorder=1)
    margin = rows[0].evidence.margin
    if margin is not None:
        ends = max(-margin, limits.low), min(margin, limits.high)
        axes.axvspan(*ends, facecolor=BAND, edgecolor=style.ZERO, linewidth=0.7, zorder=0.5, gid="margin")
    axes.axvline(0.0, color="black", linewidth=1.0, zorder=2, gid="zero")


def _metric_words(metric: str, rows: Sequence[Effect]) -> str:
    part, _, rest = metric.partition("_")
    words = style.short(f"validation {rest}" if part == "val" else metric).replace("_", " ")
    shares = all((np.abs(row.values) <= 1).all() for row in rows)
    return f"{words} (share correct)" if is_accuracy(metric) and shares else words


def _signed(value: float, digits: int = 3) -> str:
    """``+0.02``, ``0``, ``−0.02``."""
    text = f"{value:+.{digits}g}"
    return "0" if float(text) == 0 else text.replace("-", "−")


def _draw_row(axes: Axes, index: int, effect: Effect, limits: Limits) -> None:
    """The mean with its interval, and below it the pairs, those that coincide in a stack."""
    if not effect.differences:
        return
    evidence, mean = effect.evidence, _mean(effect)
    colour = _colour(evidence.verdict)
    y = index + _MEAN_AT
    if evidence.ci95 is not None:
        ends = np.clip(evidence.ci95, limits.low, limits.high)
        axes.plot(ends, [y, y], color=colour, linewidth=1.4, zorder=4, gid=f"interval {index}")
        caps = [end for end in evidence.ci95 if limits.low <= end <= limits.high]
        axes.plot(caps, [y] * len(caps), color=colour, linestyle="", marker="|", markersize=6.5, markeredgewidth=1.4)
    look: dict[str, Any] = {"markerfacecolor": colour if _proven(evidence.verdict) else "white", "markeredgewidth": 1.2}
    if limits.low <= mean <= limits.high:
        axes.plot([mean], [y], color=colour, marker="D", markersize=5.5, zorder=6, gid=f"mean {index}", **look)
    values = effect.values
    inside = values[(values >= limits.low) & (values <= limits.high)]
    x = (inside - limits.low) / (limits.high - limits.low) * axes.get_window_extent().width * 72 / style.DPI
    row = axes.get_window_extent().height * 72 / style.DPI / abs(np.diff(axes.get_ylim()).item())
    steps = np.array(list(_stacked(x)))
    step = min(_DOT_STEP / row, _DOTS_ROOM / max(float(np.abs(steps).max(initial=0.0)), 1.0))
    dots: dict[str, Any] = {"color": PAIR, "markersize": _DOT, "markeredgewidth": 0.0, "zorder": 5}
    axes.plot(inside, index + _DOTS_AT + step * steps, "o", gid=f"dots {index}", **dots)
    _draw_arrows(axes, index, effect, limits)


def _stacked(x: Series) -> Iterator[int]:
    """Steps up or down for dots at ``x`` points, the fewest with which none covers another."""
    taken: dict[int, list[float]] = {}
    for at in x.tolist():
        step = 0
        while any(abs(at - other) < _DOT for other in taken.get(step, ())):
            step = -step if step > 0 else 1 - step  # 0, 1, −1, 2, −2 …
        taken.setdefault(step, []).append(at)
        yield step


def _draw_arrows(axes: Axes, index: int, effect: Effect, limits: Limits) -> None:
    """At the ends of the axis: for the mean, with its number, for the interval, and for pairs, with their number."""
    mean, colour = _mean(effect), _colour(effect.evidence.verdict)
    reached = (mean, *(effect.evidence.ci95 or ()))
    for sign, end in ((-1, limits.low), (1, limits.high)):
        if any(sign * (value - end) > 0 for value in reached):
            words = f"mean {_signed(mean)}" if sign * (mean - end) > 0 else ""
            _draw_arrow(axes, end, index + _MEAN_AT, sign, words, colour, f"beyond {index}")
        if hidden := int((sign * (effect.values - end) > 0).sum()):
            words = style.counted(hidden, "pair")
            _draw_arrow(axes, end, index + _DOTS_AT, sign, words, style.PALE, f"dots beyond {index}")


def _draw_arrow(axes: Axes, x: float, y: float, sign: int, words: str, colour: str, gid: str) -> None:
    marker = ">" if sign > 0 else "<"
    axes.plot([x], [y], marker, color=colour, markersize=5.0, clip_on=False, zorder=6, gid=gid)
    if words:
        look: dict[str, Any] = {
            "ha": "right" if sign > 0 else "left",
            "va": "center",
            "fontsize": 8.0,
            "color": colour,
            "zorder": 7,
        }
        behind: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.3}
        axes.annotate(words, (x, y), (-6 * sign, 0), textcoords="offset points", bbox=behind, **look)
