"""The look of all pictures, and how one gets onto the disk: colours, fonts, layout, ends of axes, PNG files.

Figures are made without pyplot and without a display, and neither the user's matplotlibrc nor the rcParams of
the process change them or are changed by them.
"""

from __future__ import annotations

import math
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

from betterdl_cli import files
from betterdl_cli.analysis.curves import Curves, Ending, Limits, alive_counts, block_means
from betterdl_cli.history import Series

# Okabe and Ito (2008), https://jfly.uni-koeln.de/color/: told apart by readers of every colour vision.
CONTROL = "#0072B2"
TREATMENT = "#D55E00"
DIFFERENCE = "#007A59"  # their bluish green, darkened to be read as a line
PALE = "#555555"
BEHIND = "#999999"
FAINT = "#333333"
ZERO = "#BDBDBD"  # of a wide line of zero

WIDTH, HEIGHT, DPI = 8.0, 6.5, 150
FONT = 9.5
SMALL = 9.0
LEFT, RIGHT = 1.0, 0.2  # inches beside the panels
LABEL = -0.62 / (WIDTH - LEFT - RIGHT)  # where the labels of value axes stand, in widths of a panel
FEW_EPOCHS = 12  # up to here every epoch gets a marker: a line through one or two points is hard to see
CAPTION_WIDTH = 94  # characters of the caption that fit into the width of the figure
LineStyle = Literal["solid"] | tuple[float, Sequence[float]]

_TICK_STEPS = [1, 2, 2.5, 5, 10]

_STYLE: dict[str, object] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same picture everywhere
    "font.size": FONT,
    "axes.labelsize": FONT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.color": "#888888",
    "ytick.color": "#888888",
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
    "agg.path.chunksize": 0,
}


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's own defaults and this style, inside the block only."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a name in a script without a font
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]
        yield


def short(name: str, limit: int = 44) -> str:
    """A name on one line in at most ``limit`` characters; its middle goes: names often differ at the end."""
    flat = re.sub(r"[\s\x00-\x1f\x7f]+", " ", name).strip()
    if len(flat) <= limit:
        return flat
    tail = (limit - 1) // 2
    return f"{flat[: limit - 1 - tail]}…{flat[-tail:]}"


def counted(number: int, what: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def wrapped(notes: Sequence[str], width: int = CAPTION_WIDTH) -> list[str]:
    """Notes as the lines of a caption."""
    return [line for note in notes for line in textwrap.wrap(note, width)]


def lay_out(
    title: str,
    keys: Mapping[str, Artist],
    caption: Sequence[str],
    *,
    panels: int,
    slim: bool,
    panel_height: float | None = None,
    edge: float = LEFT,
) -> tuple[Figure, list[Axes]]:
    """A figure with a title, a legend of two rows, panels and a caption, none covering another.

    :param keys: what the legend shows, by its text
    :param caption: lines below the panels
    :param panels: number of large panels, which share what is left of the height
    :param slim: one more panel of a fixed small height below them
    :param panel_height: inches of every large panel; None: what a figure of the usual height leaves
    :param edge: inches from the left, where title, legend and caption begin
    """
    heading = textwrap.wrap(short(title, 150), 72, max_lines=2, placeholder=" …") or [""]
    legend_top = 0.14 + 0.22 * len(heading)
    top, bottom = legend_top + 0.36, 0.55 + 0.165 * len(caption)
    gap, slim_height = 0.30, 0.52
    fixed = top + bottom + gap * (panels + slim) + slim_height * slim
    height = max(HEIGHT if panels > 1 else 4.6, fixed + 1.6 * panels)
    if panel_height is not None:
        height = fixed + panel_height * panels
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    left, above = LEFT / WIDTH, height - top
    axes: list[Axes] = []
    for panel in [(height - fixed) / panels] * panels + [slim_height] * slim:
        above -= gap + panel
        box = (left, above / height, (WIDTH - LEFT - RIGHT) / WIDTH, panel / height)
        axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
    for upper in axes[:-1]:
        upper.tick_params(labelbottom=False)
    look: dict[str, Any] = {"parse_math": False, "linespacing": 1.3}
    figure.text(edge / WIDTH, 1 - 0.12 / height, "\n".join(heading), fontsize=11.5, weight="bold", va="top", **look)
    figure.text(edge / WIDTH, 0.09 / height, "\n".join(caption), fontsize=SMALL, color=FAINT, va="bottom", **look)
    _add_legend(figure, keys, legend_top, edge)
    return figure, axes


def _add_legend(figure: Figure, keys: Mapping[str, Artist], top: float, edge: float) -> None:
    legend = figure.legend(
        list(keys.values()),
        [" "] * len(keys),
        loc="upper left",
        bbox_to_anchor=(edge / WIDTH, 1 - top / figure.get_figheight()),
        ncols=(len(keys) + 1) // 2,
        frameon=False,
        borderaxespad=0.0,
        borderpad=0.2,
        handlelength=2.4,
        columnspacing=2.5,
        labelspacing=0.25,
        fontsize=FONT,
    )
    for text, label in zip(legend.get_texts(), keys, strict=True):
        set_plain(text, label)  # set afterwards: matplotlib drops labels that begin with an underscore


def set_plain(text: Text, content: str) -> None:
    """Sets a text as it is: a dollar sign in a name starts no formula."""
    text.set_parse_math(False)
    text.set_text(content)


def name_panel(axes: Axes, words: str) -> None:
    """A small heading above a panel."""
    set_plain(axes.set_title("", loc="left", fontsize=SMALL, color=FAINT, pad=4), words)


def set_epochs(axes: Axes, epochs: int) -> None:
    """The epoch axis, from 1 to ``epochs``."""
    room = 0.5 if epochs < FEW_EPOCHS else 0.012 * epochs
    axes.set_xlabel("epoch")
    axes.set_xlim(1 - room, epochs + room)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, min_n_ticks=1, steps=_TICK_STEPS))


def set_values(axes: Axes, label: str, limits: Limits, *, log: bool = False) -> None:
    """The value axis."""
    if log:
        axes.set_yscale("log")
    axes.set_ylim(limits.low, limits.high)
    if not log:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=_TICK_STEPS))
        if 1e-3 <= max(abs(limits.low), abs(limits.high)) < 1e5:
            axes.yaxis.set_major_formatter(plain := ScalarFormatter(useOffset=False))
            plain.set_scientific(False)
        else:  # no factor to be looked for at the end of the axis
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value, 6)))
    axes.set_ylabel(label)
    axes.yaxis.set_label_coords(LABEL, 0.5)


def cut_note(what: str, limits: Limits) -> list[str]:
    """What the reader must know of an axis that does not hold everything."""
    ends = (("up to", limits.above), ("down to", limits.below))
    beyond = [f"{words} {_number(end)}" for words, end in ends if end is not None]
    return [f"The axis of the {what} is cut: lines or bands reach {' and '.join(beyond)}."] if beyond else []


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}g}".replace("-", "−")


def inside(values: Series, limits: Limits, *, log: bool = False) -> Series:
    """The values, those far outside the axis moved closer: Agg garbles shapes of astronomical coordinates."""
    if not log:
        far = 20 * (limits.high - limits.low)
        return np.clip(values, limits.low - far, limits.high + far)
    low, high = math.log10(limits.low), math.log10(limits.high)
    far = 20 * (high - low)
    return np.clip(values, 10.0 ** max(low - far, -300.0), 10.0 ** min(high + far, 300.0))


@dataclass(frozen=True)
class Look:
    """How the lines of some curves are drawn.

    ``gid`` begins the group id of every artist, ``marked`` puts a marker at every epoch, ``block`` above 1
    makes every epoch pale and lays on it the means over blocks of so many epochs. Up to epoch ``wide_until`` a wide
    pale line lies beneath, which shows on both sides of lines of another colour that cover this one.
    """

    colour: str
    gid: str
    dashed: bool = False
    marked: bool = False
    block: int = 1
    wide_until: int = 0


def dashes(dashed: bool) -> LineStyle:
    """Training is solid, validation dashed."""
    return (0, (4, 1.6)) if dashed else "solid"


def draw_mean(axes: Axes, curves: Curves, limits: Limits, look: Look) -> None:
    """Mean and band of the leading epochs at which all runs are alive; nothing below three runs."""
    if not curves.center.size:
        return
    epochs = curves.epochs[: curves.together]
    low, high, center = (inside(one, limits, log=curves.log) for one in (curves.low, curves.high, curves.center))
    fill: dict[str, Any] = {"color": look.colour, "alpha": 0.2, "zorder": 3.5, "gid": f"{look.gid} band"}
    if len(epochs) == 1:  # an area of no width
        axes.vlines(epochs, low, high, linewidth=8, **fill)
    else:
        axes.fill_between(epochs, low, high, linewidth=0, **fill)
    _draw_line(axes, epochs, center, look, f"{look.gid} mean", log=curves.log, width=1.5, zorder=4.0)


def draw_singles(axes: Axes, curves: Curves, limits: Limits, look: Look, start: int = 0) -> None:
    """The single curves from the epoch of index ``start`` on."""
    alpha = min(0.9, 1.6 / math.sqrt(len(curves.seeds)))
    width = 1.0 if len(curves.seeds) <= 3 else 0.7
    for seed, row in zip(curves.seeds, curves.values, strict=True):
        values = inside(row[start:], limits, log=curves.log)
        gid = f"{look.gid} run {seed}"
        _draw_line(axes, curves.epochs[start:], values, look, gid, log=curves.log, width=width, alpha=alpha)


def _draw_line(
    axes: Axes,
    epochs: NDArray[np.int64],
    values: Series,
    look: Look,
    gid: str,
    *,
    log: bool,
    width: float,
    alpha: float = 1.0,
    zorder: float = 3.0,
) -> None:
    """The line of every epoch, of group id ``gid``, and where wanted the block means, ``gid`` + ' blocks'."""
    strong: dict[str, Any] = {
        "linestyle": dashes(look.dashed),
        "linewidth": width,
        "alpha": alpha,
        "zorder": zorder,
    }
    if look.marked:
        strong |= {"marker": "o", "markersize": 2.2 + width}
        strong |= {"markerfacecolor": "white"} if look.dashed else {}
    middles, means = block_means(epochs, values, look.block, log=log) if look.block > 1 else (epochs, values)
    if (covered := middles <= look.wide_until).any():
        wide: dict[str, Any] = {"linewidth": width + 4.0, "alpha": 0.45, "zorder": 2.5, "gid": f"{gid} wide"}
        wide |= {"marker": "o", "markersize": 5.0 + width} if look.marked else {}
        axes.plot(middles[covered], means[covered], color=look.colour, **wide)
    if look.block == 1:
        axes.plot(epochs, values, color=look.colour, gid=gid, **strong)
        return
    pale: dict[str, Any] = {"linewidth": 0.45, "alpha": 0.3 * alpha, "zorder": zorder - 0.7}
    axes.plot(epochs, values, color=look.colour, gid=gid, **pale)
    axes.plot(middles, means, color=look.colour, gid=f"{gid} blocks", **strong)


_END: dict[str, Any] = {"linestyle": "", "clip_on": False, "zorder": 6}
_DOT = _END | {"marker": "o", "markersize": 4.0, "markeredgewidth": 0.6, "markeredgecolor": "white"}
_CROSS = _END | {"marker": "x", "markersize": 5.5, "markeredgewidth": 1.6}


def mark_ends(axes: Axes, curves: Curves, ends: Mapping[int, Ending], limits: Limits, look: Look) -> None:
    """A dot where a run stopped and a cross where one diverged, at the edge of the panel when beyond it.

    A cross stands at the epoch of divergence in every panel; where that has no finite value, as high as the last
    one that has, and without any at the upper edge.
    """
    for diverged, kind in ((False, "stopped"), (True, "diverged")):
        points: list[tuple[int, float]] = []
        for seed, row in zip(curves.seeds, curves.values, strict=True):
            end = ends.get(seed)
            if end is None or (end.diverged is not None) != diverged:
                continue
            reached = np.flatnonzero(np.isfinite(row) & (curves.epochs <= (end.diverged or end.last)))
            if reached.size:
                value = min(max(float(row[reached[-1]]), limits.low), limits.high)
                points.append((end.diverged or int(curves.epochs[reached[-1]]), value))
            elif end.diverged is not None:
                points.append((end.diverged, limits.high))
        if points:
            mark = _CROSS | {"markeredgecolor": look.colour} if diverged else _DOT
            axes.plot(*np.transpose(points), color=look.colour, gid=f"{look.gid} {kind}", **mark)


@dataclass(frozen=True)
class Alive:
    """Of how many runs (or pairs), and how they ended: one step line of those alive at each epoch."""

    total: int
    ends: Mapping[int, Ending]
    look: Look


def draw_alive(axes: Axes, what: str, epochs: int, lines: Sequence[Alive]) -> None:
    """How many runs (or pairs) are alive at each epoch, and in the heading what marks their ends."""
    edges = np.arange(epochs + 1) + 0.5
    for index, line in enumerate(lines):
        counts = alive_counts(line.total, line.ends, epochs)
        width = 3.0 if index == 0 and len(lines) > 1 else 1.5  # the first shows under the second
        steps = axes.stairs(counts, edges, baseline=None, color=line.look.colour, linewidth=width, zorder=3 + index)
        steps.set_gid(line.look.gid)
    most = max(line.total for line in lines)
    axes.set_ylim(-0.15 * most, 1.15 * most)
    axes.yaxis.set_major_locator(FixedLocator([0, most]))
    kinds = {end.diverged is not None for line in lines for end in line.ends.values()}
    axes.set_ylabel(f"{what}\n{'alive' if True in kinds else 'training'}")
    axes.yaxis.set_label_coords(LABEL, 0.5)
    marks = [mark for kind, mark in ((False, "● stopped"), (True, "× diverged")) if kind in kinds]
    if True in kinds:
        marks.append("alive: in training and not diverged")
    name_panel(axes, "   ".join(marks))


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as a PNG whose bytes depend on the picture alone, whole or not at all.

    Raises :class:`betterdl_cli.files.WriteError`, and leaves what was there before.
    """
    with styled():
        files.write(
            path,
            lambda stream: figure.savefig(stream, format="png", dpi="figure", metadata={"Software": None}),
        )
