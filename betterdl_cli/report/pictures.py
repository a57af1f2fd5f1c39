"""Draw and store the pictures of compared arms."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from betterdl_cli.analysis.arms import ArmData
from betterdl_cli.analysis.comparison import paired_difference
from betterdl_cli.analysis.evidence import Compared
from betterdl_cli.analysis.histories import ArmHistories
from betterdl_cli.analysis.sentence import sentence
from betterdl_cli.analysis.verdict import Evidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Pictures:
    """``files``: the names of those drawn, in order; ``left_out``: a sentence for each that could not be drawn."""

    files: list[str]
    left_out: list[str]


def draw_pictures(
    folder: pathlib.Path,
    pairs: Sequence[tuple[Compared, str]],
    title: str,
    metric: str,
    evidence: Mapping[str, Evidence],
    *,
    validation_is_test: bool,
) -> Pictures:
    """``curves_<name>.png`` and ``difference_<name>.png`` for every pair, called ``name``; ``effects.png`` of all.

    :param metric: of which the difference of the final scores is said where the histories do not show it
    :param evidence: by the names of the pairs; those that were not judged are missing
    Raises :class:`betterdl_cli.files.WriteError`.
    """
    from betterdl_cli.analysis.curves import longest_pair, panel_metrics
    from betterdl_cli.plots.curves import draw_curves
    from betterdl_cli.plots.difference import draw_difference
    from betterdl_cli.plots.style import save

    found = Pictures([], [])
    if evidence:
        save(_effects([pair for pair, _ in pairs], title, metric, evidence), folder / "effects.png")
        found.files.append("effects.png")
    for pair, name in pairs:
        baseline, candidate = pair.baseline, pair.candidate
        control, treatment = _named(baseline, candidate)
        try:
            panel_metrics(control, treatment)
        except ValueError as error:
            found.left_out.append(f"No picture of {name}: {error}.")
            continue
        figures = {"curves": draw_curves(control, treatment, title=title, validation_is_test=validation_is_test)}
        if longest_pair(control, treatment):
            outcome = _outcome(baseline, candidate, metric)
            judged = evidence.get(pair.name)
            note = sentence(judged, pair.name, pair.reference, metric) if judged else ""
            figures["difference"] = draw_difference(
                control, treatment, title=title, outcome=outcome, note=note, validation_is_test=validation_is_test
            )
        else:
            found.left_out.append(f"No picture of the differences of {name}: the two have no seed in common.")
        for kind, figure in figures.items():
            save(figure, folder / f"{kind}_{name}.png")
            found.files.append(f"{kind}_{name}.png")
    return found


def _effects(pairs: Sequence[Compared], title: str, metric: str, evidence: Mapping[str, Evidence]) -> Figure:
    from betterdl_cli.plots.effects import Effect, draw_effects

    judged = [pair for pair in pairs if pair.name in evidence]
    effects = [
        Effect(
            pair.name,
            pair.reference,
            paired_difference(pair.baseline, pair.candidate, metric).values,
            evidence[pair.name],
        )
        for pair in judged
    ]
    return draw_effects(effects, metric, title)


def _outcome(baseline: ArmData, candidate: ArmData, metric: str) -> str:
    """How the final scores of the pairs differ; empty when they do not."""
    from betterdl_cli.report.numbers import metric_words, signed

    difference = paired_difference(baseline, candidate, metric)
    if difference.spread is None or not any(difference.values.values()):
        return ""
    pairs, mean = len(difference.values), signed(difference.spread.mean)
    over = f" (mean of {pairs} pairs)" if pairs > 1 else ""
    return f"Final {metric_words(metric)}: difference {mean}{over}."


def _named(baseline: ArmData, candidate: ArmData) -> tuple[ArmHistories, ArmHistories]:
    same = baseline.name == candidate.name
    before, after = (data.to_histories(data.label if same else None) for data in (baseline, candidate))
    return before, after
