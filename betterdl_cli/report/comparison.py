"""A comparison as a table and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from betterdl_cli.report.numbers import mean_sd, metric_words, signed
from betterdl_cli.report.table import pair_sentence
from betterdl_cli.report.verdicts import failure_words, verdict_lines

if TYPE_CHECKING:
    from rich.console import Console


def print_comparison(out: Console, document: Mapping[str, Any]) -> None:
    """One row per comparison, then what differs, every pair, and the notes."""
    from rich.table import Table
    from rich.text import Text

    metric = metric_words(document["metric"])
    title = Text(f"{metric} ({document['direction']})")
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, name in enumerate(("baseline", "candidate", "baseline score", "candidate score", "pairs",
                                  "difference", "95 % t interval", "verdict")):  # fmt: skip
        table.add_column(name, justify="left" if index < 2 else "right", overflow="fold")
    for row in ranked(document):
        interval = " to ".join(signed(end) for end in row["ci95"]) if row["ci95"] else "–"
        table.add_row(
            *(Text(row[side]) for side in ("baseline", "candidate")),
            *(_score(row, row[side]) for side in ("baseline", "candidate")),
            str(row["n_pairs"]),
            signed(row["mean_difference"]),
            interval,
            verdict_words(row),
        )
    for note in document["notes"]:
        if note.startswith("NOT "):  # before the table, because it changes what all of it means
            out.print(Text(note, style="bold"))
    out.print(table)
    for row in ranked(document):
        for line in _words(row):
            out.print(Text(line))
    for note in document["notes"]:
        if not note.startswith("NOT "):
            out.print(Text(note))
    for picture in document["pictures"]:
        out.print(Text(f"picture: {picture}"))


def _score(row: Mapping[str, Any], side: str) -> str:
    """Mean and deviation; over how many runs, where those are more than the pairs; or why there is no score."""
    spread = row["spreads"][side]
    if spread is None:
        return next((fate for fate in ("diverged", "failed") if row[fate][side]), "–")
    more = f", {spread['n']} seeds" if spread["n"] > row["n_pairs"] > 0 else ""
    return mean_sd(spread) + more


def _words(row: Mapping[str, Any]) -> list[str]:
    baseline, candidate = row["baseline"], row["candidate"]
    if baseline == candidate:
        return []  # compared with itself: a note says so
    changes = row["spec_differences"]
    if changes is None:
        lines = [f"What {candidate} and {baseline} differ by is not known: a history file has no recipe."]
    elif not changes:
        lines = [f"{candidate} and {baseline} have the same recipe."]
    elif len(changes) == 1:
        lines = [f"{candidate} differs from {baseline} by {changes[0]}"]
    else:
        lines = [f"{candidate} differs from {baseline} by:", *(f"  {change}" for change in changes)]
    if row["confounded"]:
        lines.append("CONFOUNDED: they differ by more than one thing, so the difference has no single cause.")
    if row["n_pairs"]:
        lines += _evidence(row)
    else:
        lines.append(f"{candidate} − {baseline}: nothing was subtracted, because {row['no_pair']}.")
        if row["failures"]:
            lines.append(f"    {failure_words(candidate, baseline, row['failures'])}")
    return lines


def _evidence(row: Mapping[str, Any]) -> list[str]:
    baseline, candidate = row["baseline"], row["candidate"]
    difference = {**row, "mean": row["mean_difference"]}
    if row["verdict"] is None:
        return [pair_sentence(candidate, baseline, difference)]
    return verdict_lines(candidate, baseline, difference, row)


def markdown(document: Mapping[str, Any]) -> str:
    """The comparison for a pull request: ranked, with verdicts."""
    lines = [
        f"**{metric_words(document['metric'])}** ({document['direction']})",
        "",
        "| candidate | baseline | pairs | difference | 95 % interval | p (corrected) | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in ranked(document):
        interval = " to ".join(signed(end) for end in row["ci95"]) if row["ci95"] else "–"
        p = "–" if row["p_adjusted"] is None else f"{row['p_adjusted']:.2g}"
        cells = (row["candidate"], row["baseline"], str(row["n_pairs"]), signed(row["mean_difference"]), interval, p)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (*cells, verdict_words(row))) + " |")
    said = [" ".join(line.strip() for line in _evidence(row)) for row in ranked(document) if row["sentence"]]
    return "\n".join([*lines, "", *(f"* {text}" for text in [*said, *document["notes"]])])


def verdict_words(row: Mapping[str, Any]) -> str:
    """The verdict with the margin as a number."""
    verdict: str = row["verdict"] or "–"
    return verdict.replace("theta", f"{row['equivalence_margin']:g}") if "theta" in verdict else verdict


def ranked(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The comparisons, best first; those without a pair last."""
    sign = -1.0 if document["direction"] == "higher is better" else 1.0
    rows: list[Mapping[str, Any]] = document["comparisons"]
    unknown = [row for row in rows if row["mean_difference"] is None]
    known = [row for row in rows if row["mean_difference"] is not None]
    return [*sorted(known, key=lambda row: sign * row["mean_difference"]), *unknown]
