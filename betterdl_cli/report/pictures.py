"""Draw and store the pictures of compared arms."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

from betterdl_cli.analysis.arms import ArmData
from betterdl_cli.analysis.histories import ArmHistories


@dataclass(frozen=True)
class Pictures:
    """``files``: the names of those drawn, in order; ``left_out``: a sentence for each that could not be drawn."""

    files: list[str]
    left_out: list[str]


def draw_pictures(
    folder: pathlib.Path,
    pairs: Sequence[tuple[ArmData, ArmData, str]],
    title: str,
    *,
    validation_is_test: bool,
) -> Pictures:
    """``curves_<name>.png`` and ``difference_<name>.png`` for every (baseline, candidate, name).

    Raises :class:`betterdl_cli.files.WriteError`.
    """
    from betterdl_cli.analysis.curves import longest_pair, panel_metrics
    from betterdl_cli.plots.curves import draw_curves
    from betterdl_cli.plots.difference import draw_difference
    from betterdl_cli.plots.style import save

    found = Pictures([], [])
    for baseline, candidate, name in pairs:
        control, treatment = _named(baseline, candidate)
        try:
            panel_metrics(control, treatment)
        except ValueError as error:
            found.left_out.append(f"No picture of {name}: {error}.")
            continue
        drawn = {"curves": draw_curves}
        if longest_pair(control, treatment):
            drawn["difference"] = draw_difference
        else:
            found.left_out.append(f"No picture of the differences of {name}: the two have no seed in common.")
        for kind, draw in drawn.items():
            figure = draw(control, treatment, title=title, validation_is_test=validation_is_test)
            save(figure, folder / f"{kind}_{name}.png")
            found.files.append(f"{kind}_{name}.png")
    return found


def _named(baseline: ArmData, candidate: ArmData) -> tuple[ArmHistories, ArmHistories]:
    same = baseline.name == candidate.name
    before, after = (data.to_histories(data.label if same else None) for data in (baseline, candidate))
    return before, after
