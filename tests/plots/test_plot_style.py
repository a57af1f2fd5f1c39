import os
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from betterdl_cli.analysis.curves import Limits
from betterdl_cli.files import WriteError
from betterdl_cli.plots import style


def sheet(title: str = "a title", label: str = "control") -> Figure:
    with style.styled():
        figure, axes = style.lay_out(title, {label: Line2D([], [])}, ["a caption"], panels=1, slim=False)
        axes[0].plot([1, 2], [3, 4])
    return figure


def test_save_writes_a_png(tmp_path: Path) -> None:
    style.save(sheet(), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_saved_pictures_have_the_same_bytes(tmp_path: Path) -> None:
    style.save(sheet(), tmp_path / "one.png")
    style.save(sheet(), tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_the_users_settings_change_no_byte(tmp_path: Path) -> None:
    style.save(sheet(), tmp_path / "one.png")
    with matplotlib.rc_context({"lines.linewidth": 9, "savefig.facecolor": "red", "font.size": 30}):
        style.save(sheet(), tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_drawing_and_saving_leave_the_settings_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    style.save(sheet(), tmp_path / "picture.png")
    assert dict(matplotlib.rcParams) == before


def test_saving_leaves_nothing_else_behind(tmp_path: Path) -> None:
    style.save(sheet(), tmp_path / "picture.png")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_a_picture_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    style.save(sheet(), tmp_path / "picture.png")
    assert stat.S_IMODE((tmp_path / "picture.png").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_a_failed_save_keeps_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "picture.png"
    target.write_bytes(b"old")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(WriteError, match="No space left"):
        style.save(sheet(), target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_saving_makes_the_folder(tmp_path: Path) -> None:
    style.save(sheet(), tmp_path / "missing" / "picture.png")
    assert (tmp_path / "missing" / "picture.png").is_file()


def test_a_short_name_stays() -> None:
    assert style.short("dropout-rate-0.4") == "dropout-rate-0.4"


def test_a_long_name_keeps_both_ends() -> None:
    assert style.short("abcdefghij", 7) == "abc…hij"


def test_a_name_becomes_one_line() -> None:
    assert style.short(" a\n\tb\x00c ") == "a b c"


def test_counts_agree_with_their_noun() -> None:
    assert (style.counted(1, "seed"), style.counted(3, "seed")) == ("1 seed", "3 seeds")


@pytest.mark.parametrize("name", ["_hidden", "$x$", "$broken", "模型", "a\\b{c}", "%d & <b>"])
def test_strange_names_are_shown_as_they_are(tmp_path: Path, name: str) -> None:
    figure = sheet(title=name, label=name)
    style.save(figure, tmp_path / "picture.png")
    assert figure.legends[0].get_texts()[0].get_text() == name
    assert figure.texts[0].get_text() == name


def test_a_long_title_takes_two_lines_at_most() -> None:
    assert sheet(title="word " * 100).texts[0].get_text().count("\n") == 1


def test_an_empty_title_is_allowed(tmp_path: Path) -> None:
    style.save(sheet(title=""), tmp_path / "picture.png")


@pytest.mark.parametrize("title", ["short", "a long title " * 12])
def test_title_legend_panels_and_caption_do_not_overlap(title: str) -> None:
    keys = {"control (3 seeds)": Line2D([], []), "treatment (3 seeds)": Line2D([], [])}
    with style.styled():
        figure, axes = style.lay_out(title, keys, ["one", "two", "three"], panels=2, slim=True)
        for ax in axes:
            style.name_panel(ax, "heading")
        style.set_epochs(axes[-1], 100)
        figure.canvas.draw()
        heading, caption = figure.texts
        boxes = [heading.get_window_extent(), figure.legends[0].get_window_extent()]
        boxes += [box for ax in axes if (box := ax.get_tightbbox()) is not None]
        boxes += [caption.get_window_extent()]
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))
    assert boxes[0].y1 <= figure.bbox.y1
    assert boxes[-1].y0 >= 0


def test_a_long_caption_makes_the_figure_higher_not_the_panels_smaller() -> None:
    with style.styled():
        figure, axes = style.lay_out("title", {}, ["line"] * 20, panels=2, slim=True)
    assert figure.get_figheight() > style.HEIGHT
    assert axes[0].get_position().height * figure.get_figheight() == pytest.approx(1.6)


def test_values_far_outside_are_moved_closer() -> None:
    moved = style.inside(np.array([0.5, 1e300, -1e300, np.nan]), Limits(0.0, 1.0))
    assert moved[:3].tolist() == [0.5, 21.0, -20.0]
    assert np.isnan(moved[3])


def test_values_far_outside_a_log_axis_stay_positive() -> None:
    moved = style.inside(np.array([0.0, 1.0, np.inf]), Limits(0.1, 10.0), log=True)
    assert (moved > 0).all()
    assert np.isfinite(moved).all()
    assert moved[1] == 1.0


def test_an_axis_that_holds_everything_needs_no_note() -> None:
    assert style.cut_note("loss", Limits(0.0, 1.0)) == []


def test_a_cut_axis_is_admitted() -> None:
    [note] = style.cut_note("loss", Limits(0.0, 1.0, above=1e9, below=-2.0))
    assert note == "The axis of the loss is cut: lines or bands reach up to 1e+09 and down to −2."


def test_drawing_does_not_import_pyplot() -> None:
    code = "import sys, betterdl_cli.plots.difference; print('matplotlib.pyplot' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
