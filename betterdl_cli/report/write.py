"""Write the report of an experiment: pictures, report.md and summary.json."""

from __future__ import annotations

from typing import Any

from betterdl_cli import files
from betterdl_cli.analysis.evidence import evidence_of
from betterdl_cli.analysis.summary import compared_arms, experiment_arms, summarise
from betterdl_cli.analysis.verdict import Verdict
from betterdl_cli.config.experiment import LOOKS
from betterdl_cli.report.pictures import draw_pictures
from betterdl_cli.report.table import markdown
from betterdl_cli.store import ExperimentDirectory, Plan


def more_seeds(directory: ExperimentDirectory, plan: Plan) -> tuple[int, ...]:
    """The seeds of the next look when they are to be added until all is decided (``seeds: auto``); else none."""
    following = next((look for look in LOOKS if look > len(plan.seeds)), None)
    if not plan.judging.adaptive or following is None:
        return ()
    compared = compared_arms(experiment_arms(directory, plan), plan)
    evidence = evidence_of(list(compared.values()), plan.metric, plan.judging)
    undecided = {Verdict.UNDECIDED, Verdict.TOO_FEW}
    if not any(one.verdict in undecided for name, one in evidence.items() if not compared[name].is_aa):
        return ()
    return tuple(range(following))


def write_report(directory: ExperimentDirectory, plan: Plan) -> dict[str, Any]:
    """Everything under ``report/``; returns the content of summary.json."""
    arms = experiment_arms(directory, plan)
    compared = compared_arms(arms, plan)
    evidence = evidence_of(list(compared.values()), plan.metric, plan.judging)
    pairs = [(pair, name) for name, pair in compared.items()]
    title = plan.name + (" (smoke run)" if plan.smoke else "")
    pictures = draw_pictures(
        directory.report, pairs, title, plan.metric, evidence, validation_is_test=plan.validation_is_test
    )
    summary = summarise(directory, plan, arms, evidence)
    summary |= {"pictures": pictures.files, "notes": [*summary["notes"], *pictures.left_out]}
    files.write_text(directory.report / "report.md", markdown(summary, pictures.files))
    files.write_json(directory.report / "summary.json", summary)
    return summary
