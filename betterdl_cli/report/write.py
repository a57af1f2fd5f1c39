"""Write the report of an experiment: pictures, report.md and summary.json."""

from __future__ import annotations

from typing import Any

from betterdl_cli import files
from betterdl_cli.analysis.summary import experiment_arms, summarise
from betterdl_cli.report.pictures import draw_pictures
from betterdl_cli.report.table import markdown
from betterdl_cli.store import ExperimentDirectory, Plan


def write_report(directory: ExperimentDirectory, plan: Plan) -> dict[str, Any]:
    """Everything under ``report/``; returns the content of summary.json."""
    arms = experiment_arms(directory, plan)
    pairs = [(arms[arm.reference], arms[arm.id], arm.id) for arm in plan.arms if arm.reference]
    title = plan.name + (" (smoke run)" if plan.smoke else "")
    pictures = draw_pictures(directory.report, pairs, title, plan.metric, validation_is_test=plan.validation_is_test)
    summary = summarise(directory, plan)
    summary |= {"pictures": pictures.files, "notes": [*summary["notes"], *pictures.left_out]}
    files.write_text(directory.report / "report.md", markdown(summary, pictures.files))
    files.write_json(directory.report / "summary.json", summary)
    return summary
