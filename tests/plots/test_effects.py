import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from betterdl_cli.analysis.verdict import judge_all
from betterdl_cli.plots import style
from betterdl_cli.plots.effects import Effect, draw_effects

BETTER = [0.02, 0.021, 0.022, 0.023, 0.024, 0.025, 0.026]
WORSE = [-value for value in BETTER]
SMALL = [0.001, -0.001, 0.002, -0.002, 0.0, 0.001, -0.001]
WILD = [0.03, -0.04, 0.02, -0.03, 0.05, -0.02, 0.01]


def effects(
    differences: Mapping[str, Sequence[float]],
    *,
    margin: float | None = 0.01,
    higher: bool = True,
    references: Mapping[str, str] | None = None,
) -> list[Effect]:
    found = judge_all(differences, higher_is_better=higher, margin=margin)
    return [
        Effect(name, (references or {}).get(name, "control"), dict(enumerate(values)), found[name])
        for name, values in differences.items()
    ]


def draw(found: Sequence[Effect], metric: str = "test_accuracy", note: str = "") -> Figure:
    return draw_effects(found, metric, "title", note)


def artists(figure: Figure, gid: str) -> list[Artist]:
    return [one for one in figure.axes[0].get_children() if one.get_gid() == gid]


def data(figure: Figure, gid: str) -> tuple[list[float], list[float]]:
    [line] = artists(figure, gid)
    assert isinstance(line, Line2D)
    x, y = np.asarray(line.get_data(), dtype=float).tolist()
    return x, y


def column(figure: Figure, kind: str, rows: int) -> list[str]:
    cells = [artists(figure, f"{kind} {index}")[0] for index in range(rows)]
    return [cell.get_text() for cell in cells if isinstance(cell, Text)]


def words(figure: Figure) -> list[str]:
    return [one.get_text() for one in figure.axes[0].texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def caption(figure: Figure) -> str:
    return figure.texts[1].get_text().replace("\n", " ")


def test_the_best_technique_stands_on_top_and_those_without_a_pair_at_the_bottom() -> None:
    figure = draw(effects({"none": [], "bad": WORSE, "good": BETTER, "same": SMALL}))
    assert column(figure, "technique", 4) == ["good", "same", "bad", "none"]
    top, bottom = (data(figure, f"mean {row}")[1][0] for row in (0, 2))
    assert figure.axes[0].transData.transform((0, top))[1] > figure.axes[0].transData.transform((0, bottom))[1]


def test_of_a_loss_the_lowest_is_best() -> None:
    figure = draw(effects({"higher": BETTER, "lower": WORSE}, higher=False), "test_loss")
    assert column(figure, "technique", 2) == ["lower", "higher"]
    assert column(figure, "verdict", 2) == ["helps, 0.01 or more", "hurts, 0.01 or more"]
    assert figure.axes[0].get_xlabel() == "difference in test loss; left = better"


def test_the_label_names_unit_and_direction() -> None:
    label = draw(effects({"good": BETTER})).axes[0].get_xlabel()
    assert label == "difference in test accuracy (share correct); right = better"


def test_a_row_holds_pairs_mean_and_interval() -> None:
    [good] = effects({"good": BETTER})
    figure = draw([good])
    assert data(figure, "dots 0")[0] == BETTER
    assert data(figure, "mean 0")[0] == [good.evidence.mean_difference]
    assert tuple(data(figure, "interval 0")[0]) == good.evidence.ci95


def test_verdicts_in_few_words() -> None:
    little = [0.002, 0.0021, 0.0022, 0.0023, 0.0024, 0.0025, 0.0026]
    some = [0.005, 0.012, 0.009, 0.02, 0.015, 0.011, 0.018]
    rows = {"a": BETTER, "b": some, "c": little, "d": SMALL, "e": [0.0, -0.005, 0.004], "f": []}
    assert column(draw(effects(rows)), "verdict", 6) == [
        "helps, 0.01 or more",
        "helps",
        "helps, under 0.01",
        "no practical difference",
        "too few seeds",
        "no pair",
    ]


def test_the_number_of_pairs_stands_in_every_row() -> None:
    assert column(draw(effects({"good": BETTER, "one": [0.01], "none": []})), "pairs", 3) == ["7", "1", "0"]


def test_what_is_not_proven_is_hollow() -> None:
    figure = draw(effects({"good": BETTER, "wild": WILD}))
    means = [one for row in (0, 1) for one in artists(figure, f"mean {row}") if isinstance(one, Line2D)]
    assert [one.get_markerfacecolor() == "white" for one in means] == [False, True]
    assert "hollow: nothing proven" in legend(figure)


def test_the_margin_is_a_named_band() -> None:
    figure = draw(effects({"good": BETTER}))
    [band] = artists(figure, "margin")
    assert isinstance(band, Rectangle)
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((-0.01, 0.01))
    assert legend(figure)[-1] == "less than 0.01: no practical difference"


def test_without_a_margin_there_is_no_band() -> None:
    figure = draw(effects({"good": BETTER}, margin=None))
    assert artists(figure, "margin") == []
    assert legend(figure) == ["mean with its 95 % interval", "one pair"]


def test_a_margin_far_wider_than_the_differences_does_not_squeeze_them() -> None:
    figure = draw(effects({"same": SMALL}, margin=0.5))
    assert figure.axes[0].get_xlim()[1] < 0.01
    assert "The whole axis lies inside ±0.5." in caption(figure)


def test_coinciding_pairs_are_stacked_inside_their_row() -> None:
    x, y = data(draw(effects({"good": [0.02] * 4 + [0.03] * 3})), "dots 0")
    assert len(set(zip(x, y, strict=True))) == 7
    assert -0.5 < min(y) < max(y) < 0.5


def test_a_hundred_equal_pairs_stay_inside_their_row() -> None:
    _, y = data(draw(effects({"same": [0.0] * 100})), "dots 0")
    assert -0.1 < min(y) < max(y) < 0.5


def test_no_pair_draws_nothing_but_words() -> None:
    figure = draw(effects({"none": []}))
    assert column(figure, "verdict", 1) == ["no pair"]
    assert artists(figure, "mean 0") == []


def test_one_pair_has_no_interval() -> None:
    figure = draw(effects({"one": [0.02]}))
    assert data(figure, "mean 0")[0] == data(figure, "dots 0")[0] == [0.02]
    assert artists(figure, "interval 0") == []
    assert legend(figure)[0] == "mean"


@pytest.mark.parametrize(("value", "margin"), [(0.0, 0.01), (0.0, None), (0.02, 0.01), (-3.0, None)])
def test_equal_differences_have_no_interval_and_that_is_said(
    value: float, margin: float | None, tmp_path: Path
) -> None:
    figure = draw(effects({"same": [value] * 8}, margin=margin))
    style.save(figure, tmp_path / "effects.png")
    low, high = figure.axes[0].get_xlim()
    assert low < min(value, 0) <= max(value, 0) < high
    assert artists(figure, "interval 0") == []
    assert "Differences that are the same in every pair have no interval." in caption(figure)


def test_a_ruined_technique_does_not_squeeze_the_others(tmp_path: Path) -> None:
    figure = draw(effects({"good": BETTER, "same": SMALL, "ruined": [-0.5, -0.51, -0.52, -0.5, -0.5, -0.5, -0.5]}))
    style.save(figure, tmp_path / "effects.png")
    assert figure.axes[0].get_xlim()[0] > -0.1
    assert "mean −0.504" in words(figure)
    assert "7 pairs" in words(figure)
    assert artists(figure, "mean 2") == []
    assert "The axis is cut" in caption(figure)
    assert "down to −0.52" in caption(figure)


def test_one_pair_far_away_is_counted_at_the_end_of_the_axis() -> None:
    figure = draw(effects({"good": [*BETTER, 9.0], "bad": WORSE}, margin=None), "test_loss")
    assert "1 pair" in words(figure)
    assert "up to +9." in caption(figure)


def test_an_axis_that_holds_everything_is_not_called_cut() -> None:
    figure = draw(effects({"good": BETTER, "bad": WORSE}))
    assert "cut" not in caption(figure)
    assert artists(figure, "beyond 0") == []


def test_the_caption_says_where_verdicts_hold_and_that_they_are_corrected() -> None:
    assert caption(draw(effects({"good": BETTER}))) == "Verdicts hold on this split."
    assert caption(draw(effects({"good": BETTER, "bad": WORSE}), note="Mind the gap.")) == (
        "Verdicts hold on this split and are corrected for the number of techniques; the intervals are not. "
        "Mind the gap."
    )


def test_too_few_seeds_are_no_verdict_to_speak_of() -> None:
    assert caption(draw(effects({"one": [0.02]}))) == ""


def test_a_95_percent_interval_that_leaves_the_band_is_explained() -> None:
    values = [-0.011, 0.011, 0.012, -0.002, 0.001, 0.012, 0.0, 0.009, 0.001]
    [small] = effects({"small": values})
    assert small.evidence.verdict == "no practical difference"
    assert small.evidence.ci95 is not None
    assert small.evidence.ci95[1] <= 0.01
    assert "90 % interval" not in caption(draw([small]))
    wider = [value + 0.0011 for value in values]
    [near] = effects({"near": wider})
    assert (near.evidence.verdict, near.evidence.ci95[1] > 0.01 if near.evidence.ci95 else None) == (
        "no practical difference",
        True,
    )
    assert "takes a 90 % interval inside the band" in caption(draw([near]))


def test_of_many_techniques_the_largest_differences_are_shown() -> None:
    rows = {f"t{index}": [0.001 * index + value for value in SMALL] for index in range(-35, 35)}
    figure = draw(effects(rows))
    names = column(figure, "technique", 60)
    assert (names[0], names[-1]) == ("t34", "t-35")
    assert not {"t0", "t4", "t-4"} & set(names)
    assert "70 techniques: shown are the 60 with the largest mean differences." in caption(figure)


def test_more_rows_make_the_picture_higher() -> None:
    few, many = (draw(effects({f"t{index}": BETTER for index in range(rows)})) for rows in (10, 60))
    assert many.get_figheight() > few.get_figheight() + 10


def test_the_heading_names_the_reference_that_all_share() -> None:
    assert "technique − plain" in words(draw(effects({"good": BETTER}, references={"good": "plain"})))


def test_with_several_references_every_row_names_its_own() -> None:
    figure = draw(effects({"good": BETTER, "bad": WORSE}, references={"bad": "plain"}))
    assert column(figure, "technique", 2) == ["good − control", "bad − plain"]
    assert "technique − reference" in words(figure)


@pytest.mark.parametrize("name", ["W" * 80, "a name " * 20, "$x$", "模型", "_"])
@pytest.mark.parametrize("rows", [1, 3, 25])
def test_nothing_overlaps(name: str, rows: int, tmp_path: Path) -> None:
    found = {f"t{index}": SMALL for index in range(rows - 1)} | {name: BETTER}
    figure = draw(effects(found), note="A note. " * 30)
    style.save(figure, tmp_path / "effects.png")
    axes, renderer = figure.axes[0], figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for index in range(rows):
        cells = [artists(figure, f"{kind} {index}")[0].get_window_extent() for kind in ("verdict", "pairs")]
        boxes = [artists(figure, f"technique {index}")[0].get_window_extent(), axes.get_window_extent(), *cells]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
        assert boxes[0].x0 >= 0
        assert boxes[-1].x1 <= figure.bbox.x1
    heights = [figure.texts[0].get_window_extent(), figure.legends[0].get_window_extent()]
    heights += [box for box in [axes.get_tightbbox(renderer)] if box is not None]
    heights += [figure.texts[1].get_window_extent()]
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(heights))
    assert axes.get_window_extent().width > 0.3 * figure.bbox.width
    assert axes.xaxis.get_label().get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize("huge", [1e9, 1e38, 1e120])
def test_huge_losses_draw_without_a_warning(huge: float, tmp_path: Path) -> None:
    found = effects({"wild": [huge, -huge, huge, 1.0, -huge, huge], "good": WORSE}, margin=None, higher=False)
    style.save(draw(found, "test_loss"), tmp_path / "effects.png")


def test_the_same_effects_give_the_same_bytes(tmp_path: Path) -> None:
    found = effects({"good": [0.02] * 5 + BETTER, "wild": WILD})
    for name in ("one.png", "two.png"):
        style.save(draw(found), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_no_effects_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one technique, found none"):
        draw([])


def test_effects_of_several_margins_are_refused() -> None:
    with pytest.raises(ValueError, match="expected techniques of one margin"):
        draw(effects({"good": BETTER}) + effects({"bad": WORSE}, margin=0.02))


def test_effects_do_not_import_pyplot() -> None:
    code = "import sys, betterdl_cli.plots.effects; print('matplotlib.pyplot' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
