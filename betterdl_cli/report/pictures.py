"""Draw and store the pictures of compared arms."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from betterdl_cli.analysis.arms import ArmData


def draw_pictures(
    folder: pathlib.Path,
    pairs: Sequence[tuple[ArmData, ArmData, str]],
    title: str,
    *,
    validation_is_test: bool,
) -> list[str]:
    """``curves_<name>.png`` and ``difference_<name>.png`` for every (baseline, candidate, name).

    Returns the names of the files, in order; a pair without a common run has no difference to draw, and an arm
    without any history no curves.
    """
    from betterdl_cli.plots.curves import draw_curves
    from betterdl_cli.plots.difference import draw_difference
    from betterdl_cli.plots.style import save

    drawn = []
    folder.mkdir(parents=True, exist_ok=True)
    for baseline, candidate, name in pairs:
        control, treatment = _named(baseline, candidate)
        if not control.runs or not treatment.runs:
            continue
        figure = draw_curves(control, treatment, title=title, validation_is_test=validation_is_test)
        save(figure, folder / f"curves_{name}.png")
        drawn.append(f"curves_{name}.png")
        if set(control.runs) & set(treatment.runs):
            figure = draw_difference(control, treatment, title=title, validation_is_test=validation_is_test)
            save(figure, folder / f"difference_{name}.png")
            drawn.append(f"difference_{name}.png")
    return drawn


def _named(baseline: ArmData, candidate: ArmData) -> tuple:  # type: ignore[type-arg]
    same = baseline.name == candidate.name
    return tuple(data.to_histories(data.label if same else None) for data in (baseline, candidate))
