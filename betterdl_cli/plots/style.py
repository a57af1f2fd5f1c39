"""The look of all pictures, and how one gets onto the disk: colours, fonts, layout, ends of axes, PNG files.

Figures are made without pyplot and without a display, and nothing of the user's matplotlibrc or of the process's
rcParams changes them or is changed by them.
"""

from __future__ import annotations

import os
import re
import secrets
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator

from betterdl_cli.analysis.curves import Curves, Limits
from betterdl_cli.history import Series

# Okabe and Ito (2008), https://jfly.uni-koeln.de/color/: told apart by readers of every colour vision.
CONTROL = "#0072B2"
TREATMENT = "#D55E00"
DIFFERENCE = "#000000"
PALE = "#555555"

WIDTH, HEIGHT, DPI = 8.0, 6.5, 150
FONT = 9.5
SMALL = 9.0
LEFT, RIGHT = 0.85, 0.2  # inches beside the panels
FEW_EPOCHS = 12  # up to here every epoch gets a marker: a line through one or two points is hard to see
CAPTION_WIDTH = 104  # characters of the caption that fit into the width of the figure

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
    """A name on one line in at most ``limit`` characters, without its middle: arms often differ at the end."""
    flat = re.sub(r"[\s\x00-\x1f\x7f]+", " ", name).strip()
    if len(flat) <= limit:
        return flat
    tail = (limit - 1) // 2
    return f"{flat[: limit - 1 - tail]}…{flat[-tail:]}"


def counted(number: int, what: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def wrapped(notes: Sequence[str]) -> list[str]:
    """Notes as the lines of a caption."""
    return [line for note in notes for line in textwrap.wrap(note, CAPTION_WIDTH)]


def lay_out(title: str, caption: Sequence[str], panels: Sequence[float], slim: bool) -> tuple[Figure, list[Axes]]:
    """A figure with a title, room for a legend of two rows, panels under each other and a caption below.

    :param panels: relative heights of the large panels, which share what is left of the height
    :param slim: one more panel of a fixed small height below them
    """
    heading = textwrap.wrap(short(title, 160), 76, max_lines=2, placeholder=" …") or [""]
    top = 0.14 + 0.21 * len(heading) + 0.46
    bottom = 0.55 + 0.165 * len(caption)
    gaps, slim_height = 0.30, 0.52
    fixed = top + bottom + gaps * (len(panels) + slim) + slim_height * slim
    height = max(HEIGHT if len(panels) > 1 else 4.6, fixed + 1.6 * len(panels))
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    unit = (height - fixed) / sum(panels)
    axes: list[Axes] = []
    above = height - top
    for panel in [unit * part for part in panels] + [slim_height] * slim:
        above -= gaps + panel
        box = (LEFT / WIDTH, above / height, (WIDTH - LEFT - RIGHT) / WIDTH, panel / height)
        axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
    for upper in axes[:-1]:
        upper.tick_params(labelbottom=False)
    left = LEFT / WIDTH
    _write(figure, left, 1 - 0.12 / height, "\n".join(heading), size=11.5, weight="bold")
    if caption:
        baseline = 0.09 / height
        _write(figure, 0.15 / WIDTH, baseline, "\n".join(caption), size=SMALL, color="#333333", bottom=True)
    return figure, axes


def _write(
    figure: Figure, x: float, y: float, text: str, *, size: float, bottom: bool = False, **look: str
) -> None:
    figure.text(
        x, y, text, fontsize=size, va="bottom" if bottom else "top", parse_math=False, linespacing=1.3, **look
    )  # fmt: skip


def add_legend(figure: Figure, handles: Sequence[Line2D], labels: Sequence[str], lines: int = 1) -> None:
    """A legend of two rows between title and panels, where it covers nothing. ``lines``: of the title."""
    height = figure.get_figheight()
    legend = figure.legend(
        handles, [" "] * len(labels), loc="upper left", ncols=(len(labels) + 1) // 2, frameon=False, fontsize=FONT,
        bbox_to_anchor=(LEFT / WIDTH, 1 - (0.14 + 0.21 * lines) / height), borderaxespad=0.0, borderpad=0.2,
        handlelength=2.4, columnspacing=2.5, labelspacing=0.25,
    )  # fmt: skip
    for text, label in zip(legend.get_texts(), labels, strict=True):
        set_plain(text, label)  # set afterwards: matplotlib drops labels that begin with an underscore


def set_plain(text: Text, content: str) -> None:
    """Sets a text as it is: a dollar sign in a name starts no formula."""
    text.set_parse_math(False)
    text.set_text(content)


def name_panel(axes: Axes, words: str) -> None:
    """A small heading above a panel."""
    set_plain(axes.set_title("", loc="left", fontsize=SMALL, color="#333333", pad=4), words)


def set_epochs(axes: Axes, epochs: int) -> None:
    """The epoch axis, from 1 to ``epochs``."""
    room = 0.5 if epochs < FEW_EPOCHS else 0.012 * epochs
    axes.set_xlim(1 - room, epochs + room)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def set_values(axes: Axes, label: str, limits: Limits, *, log: bool = False) -> None:
    """The value axis."""
    if log:
        axes.set_yscale("log")
    axes.set_ylim(limits.low, limits.high)
    if not log:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}".replace("-", "−")))
    axes.set_ylabel(label)
    axes.yaxis.set_label_coords(-0.62 / (WIDTH - LEFT - RIGHT), 0.5)


def cut_note(what: str, limits: Limits) -> list[str]:
    """What the reader must know of an axis that does not hold everything."""
    beyond = [f"up to {limits.above:.3g}"] if limits.above is not None else []
    beyond += [f"down to {limits.below:.3g}"] if limits.below is not None else []
    return [f"The {what} axis is cut: values reach {' and '.join(beyond)}."] if beyond else []


def inside(values: Series, limits: Limits, *, log: bool = False) -> Series:
    """The values, those far outside the axis moved closer: Agg garbles shapes of astronomical coordinates."""
    if log:
        far = (limits.high / limits.low) ** 20
        return np.clip(values, limits.low / far, limits.high * far)
    far = 20 * (limits.high - limits.low)
    return np.clip(values, limits.low - far, limits.high + far)


def draw_mean(
    axes: Axes, curves: Curves, limits: Limits, *, colour: str, dashed: bool = False, band_alpha: float = 0.18, gid: str
) -> None:
    """Mean and band of the leading epochs at which all runs are alive; nothing below three runs."""
    if not curves.center.size:
        return
    epochs = curves.epochs[: curves.together]
    low, high, center = (
        inside(part, limits, log=curves.log) for part in (curves.low, curves.high, curves.center)
    )
    axes.fill_between(epochs, low, high, color=colour, alpha=band_alpha, linewidth=0, zorder=2).set_gid(f"{gid} band")
    width = 1.5 if len(epochs) <= 1000 else 1.0
    line = axes.plot(
        epochs, center, color=colour, linewidth=width, linestyle=(0, (4, 1.6)) if dashed else "solid", zorder=4,
        marker="o" if len(epochs) <= FEW_EPOCHS else "", markersize=3.5, gid=f"{gid} mean",
    )  # fmt: skip
    del line


def draw_singles(
    axes: Axes, curves: Curves, limits: Limits, *, colour: str, dashed: bool = False, start: int = 0, gid: str
) -> None:
    """The single curves from the epoch of index ``start`` on."""
    epochs = curves.epochs[start:]
    alpha = min(0.9, 1.6 / np.sqrt(len(curves.seeds)))
    width = 1.0 if len(curves.seeds) <= 3 else 0.7
    for seed, row in zip(curves.seeds, curves.values, strict=True):
        axes.plot(
            epochs, inside(row[start:], limits, log=curves.log), color=colour, alpha=alpha, linewidth=width,
            linestyle=(0, (4, 1.6)) if dashed else "solid", zorder=3,
            marker="o" if len(epochs) <= FEW_EPOCHS else "", markersize=2.5, gid=f"{gid} run {seed}",
        )  # fmt: skip


def save(figure: Figure, path: str | Path) -> None:
    """Writes the figure as a PNG whose bytes depend on the picture alone.

    The file appears complete or not at all: it is written beside its place and moved there. Raises OSError when
    that fails, and leaves what was there before.
    """
    target = Path(path)
    temporary = target.with_name(f".{secrets.token_hex(8)}.png.tmp")
    canvas = FigureCanvasAgg(figure)
    try:
        with temporary.open("xb") as file:
            with styled():
                canvas.print_png(file, metadata={"Software": None})
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
