"""``bdl compare``: two arms, experiments or histories side by side."""

from __future__ import annotations

import hashlib
import json
import math
import pathlib
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from betterdl_cli.errors import EXIT_GATE, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from betterdl_cli.analysis.pairs import Pair
    from betterdl_cli.analysis.sources import Source
    from betterdl_cli.config.experiment import Judging
    from betterdl_cli.report.pictures import Pictures
    from betterdl_cli.store import Plan


@click.command(name="compare", short_help="compare two arms, experiments or histories")
@click.argument("a")
@click.argument("b", required=False)
@click.option("--runs", "root", type=click.Path(path_type=pathlib.Path), default="runs", show_default=True,
              help="Folder in which names of experiments are looked up.")  # fmt: skip
@click.option("--metric", help="Metric to compare on (default: the experiment's, else the first in common).")
@click.option("--output", type=click.Path(path_type=pathlib.Path),
              help="Folder for the pictures (default: compare-A-vs-B in the folder of the runs).")  # fmt: skip
@click.option("--pictures/--no-pictures", "with_pictures", default=True, show_default=True)
@click.option("--allow-confounded", is_flag=True, help="Compare arms that differ by more than one thing.")
@click.option("--equivalence-margin", "margin", type=click.FloatRange(0, min_open=True), metavar="NUMBER",
              help="The smallest difference that matters (default: as in the experiment).")  # fmt: skip
@click.option("--alpha", type=click.FloatRange(0, 0.5, min_open=True), metavar="NUMBER",
              help="Accepted share of wrong claims (default: as in the experiment).")  # fmt: skip
@click.option("--fail-if", "gate", type=click.Choice(["worse", "not-better", "different"]),
              help="Exit with 3 when any candidate hurts; does anything but help; helps or hurts. Provisional "
                   "verdicts are neither; A/A arms do not count.")  # fmt: skip
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a table for a pull request.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def command(
    a: str,
    b: str | None,
    root: pathlib.Path,
    metric: str | None,
    output: pathlib.Path | None,
    with_pictures: bool,
    allow_confounded: bool,
    margin: float | None,
    alpha: float | None,
    gate: str | None,
    as_markdown: bool,
    as_json: bool,
) -> None:
    """Compare the baseline A with the candidate B; differences are B − A.

    A and B: an experiment (its arms of the same name are compared), EXPERIMENT:ARM, the directory of an experiment,
    an arm or a run, or any history file. With A alone, an experiment: its treatments against its control.
    """
    from betterdl_cli.analysis.pairs import common_metric, comparison_document, refuse_confounded
    from betterdl_cli.analysis.sources import resolve

    if as_json and as_markdown:
        raise UsageError("expected one of --json and --markdown, found both")
    sources = [resolve(word, root) for word in (a, b) if word is not None]
    pairs = _pairs(sources)
    if not allow_confounded:
        refuse_confounded(pairs)
    plans = [source.plan for source in sources if source.plan]
    chosen = common_metric(pairs, metric, plans[0].metric if plans else None)
    judging = _judging(plans, chosen, margin, alpha)
    document = dict(comparison_document(pairs, chosen, any(plan.validation_is_test for plan in plans), judging))
    if with_pictures:
        folder = output or root / ("compare-" + "-vs-".join(_slug(source.label) for source in sources))
        pictures = _draw(folder, pairs, sources, chosen, judging)
        document["pictures"] = [str(folder / name) for name in pictures.files]
        document["notes"] = [*document["notes"], *pictures.left_out]
    if as_json:
        click.echo(json.dumps(document, indent=1, ensure_ascii=False))
    elif as_markdown:
        from betterdl_cli.report.comparison import markdown

        click.echo(markdown(document))
    else:
        from betterdl_cli.report.comparison import print_comparison
        from betterdl_cli.report.table import console

        print_comparison(console(), document)
    if gate and (caught := _caught(document["comparisons"], gate)):
        click.echo(f"bdl: --fail-if {gate}: {'; '.join(caught)}", err=True)
        sys.exit(EXIT_GATE)


def _judging(plans: list[Plan], metric: str, margin: float | None, alpha: float | None) -> Judging:
    """As asked for; else as the experiment says, where it speaks of the same metric; else the usual."""
    from betterdl_cli.config.experiment import Judging

    for option, given in (("--equivalence-margin", margin), ("--alpha", alpha)):
        if given is not None and not math.isfinite(given):  # click's ranges let nan pass
            raise UsageError(f"{option}: expected a finite number, found {given}")
    planned = plans[0].judging if plans else Judging()
    usual = 0.01 if metric.endswith("accuracy") else None
    if plans and plans[0].metric == metric:
        usual = planned.equivalence_margin
    return planned.model_copy(
        update={"equivalence_margin": usual if margin is None else margin, "alpha": alpha or planned.alpha}
    )


def _caught(comparisons: list[dict[str, Any]], gate: str) -> list[str]:
    """The candidates on which a gate closes; what was not judged, or only provisionally, is not better."""
    from betterdl_cli.analysis.verdict import Verdict

    closes: dict[str, Callable[[Verdict], bool]] = {
        "worse": lambda verdict: verdict.hurts,
        "not-better": lambda verdict: not verdict.helps,
        "different": lambda verdict: verdict.helps or verdict.hurts,
    }
    caught = []
    for row in comparisons:
        if row["aa"]:
            continue
        if _fails_more(row):
            caught.append(f"{row['candidate']}: fails or diverges more often than {row['baseline']}")
        elif closes[gate](Verdict(row["verdict"] or Verdict.TOO_FEW)):
            caught.append(f"{row['candidate']}: {row['verdict'] or 'not judged'}")
    return caught


def _fails_more(row: dict[str, Any]) -> bool:
    """A candidate that no longer trains is worse, whatever the rest of its scores are."""
    failed = row["failures"]
    return bool(failed) and failed["only_treatment"] > failed["only_control"] and failed["p_value"] <= row["alpha"]


def _pairs(sources: list[Source]) -> list[Pair]:
    from betterdl_cli.analysis.pairs import Pair
    from betterdl_cli.errors import nearest

    if len(sources) == 1:
        source = sources[0]
        if source.plan is None or source.single or len(source.arms) < 2:
            raise UsageError(_no_second(source))
        control, *treatments = source.arms.values()
        return [
            Pair(source.arms.get(arm.arm.reference or "", control) if arm.arm else control, arm) for arm in treatments
        ]
    before, after = sources
    if before.single and after.single:
        return [Pair(next(iter(before.arms.values())), next(iter(after.arms.values())))]
    common = [name for name in before.arms if name in after.arms]
    if not common:
        one, many = (before, after) if before.single else (after, before)
        name = next(iter(one.arms))
        guess = nearest(name, many.arms)
        hint = f" (did you mean '{many.label}:{guess}'?)" if guess else ""
        raise UsageError(
            f"expected arms of the same name, found none: {before.label} has {', '.join(before.arms)}; "
            f"{after.label} has {', '.join(after.arms)}. Name one arm: {many.label}:{next(iter(many.arms))}{hint}"
        )
    return [Pair(before.arms[name], after.arms[name]) for name in common]


def _no_second(source: Source) -> str:
    if source.plan is None:
        return f"expected two histories to compare, found only '{source.label}': name another history file"
    if not source.single:
        return f"expected an experiment with treatments, found only the control in '{source.label}': name a B"
    others = [arm.id for arm in source.plan.arms if arm.id not in source.arms]
    hint = f", such as '{source.experiment}:{others[0]}'" if others else ""
    return f"expected two arms or runs to compare, found only '{source.label}': name a B{hint}"


def _slug(label: str) -> str:
    """A label as part of a file name; what it cannot hold becomes a short digest, so that two labels stay two."""
    named = label.replace(":", "-")  # EXPERIMENT:ARM
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", named).strip("-.")[-60:]
    if plain == named:
        return plain
    digest = hashlib.sha256(label.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{plain or 'history'}-{digest}"


def _draw(folder: pathlib.Path, pairs: list[Pair], sources: list[Source], metric: str, judging: Judging) -> Pictures:
    from betterdl_cli.analysis.pairs import judge_pairs
    from betterdl_cli.report.pictures import draw_pictures

    test = any(source.plan.validation_is_test for source in sources if source.plan)
    compared, evidence = judge_pairs(pairs, metric, judging)
    named = [(one, _slug(one.candidate.name)) for one in compared]
    title = " and ".join(source.label for source in sources)
    return draw_pictures(folder, named, title, metric, evidence, validation_is_test=test)
