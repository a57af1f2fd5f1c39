"""The summary as a table and sentences: on a terminal by rich, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from betterdl_cli.config.experiment import CONTROL
from betterdl_cli.report.numbers import mean_sd, metric_words, seconds, signed
from betterdl_cli.report.verdicts import main_effect_lines, verdict_lines

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 1000  # columns where there is no terminal: rows of a table must not be broken there

Summary = Mapping[str, Any]


def console(*, stderr: bool = False) -> Console:
    """Where to print: as wide as the terminal, and wide enough for a whole table when there is none."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not found.is_terminal:
        found = Console(stderr=stderr, highlight=False, width=PIPED_WIDTH)
    return found


def columns(summary: Summary) -> list[str]:
    part, _, _ = metric_words(summary["metric"]).partition(" ")
    names = ["arm", "area", "seeds", "train", "validation", "test"]
    if any(arm["best_epoch"] for arm in summary["arms"]):
        names.append("test at best epoch*")
    whose = "reference" if any(arm["reference"] not in (None, CONTROL) for arm in summary["arms"]) else CONTROL
    return [*names, f"{part} − {whose}'s (range)", "epochs", "seconds"]


def caption(summary: Summary) -> str:
    """What the numbers of the table are."""
    score = metric_words(summary["metric"]).partition(" ")[2]
    better = "higher" if summary["higher_is_better"] else "lower"
    return f"{score} ({better} is better): mean ± standard deviation over seeds, final model; seconds per run"


def rows(summary: Summary) -> list[list[str]]:
    """One row of text per arm, as many cells as :func:`columns`."""
    name = summary["metric"].partition("_")[2]
    best_column = any(arm["best_epoch"] for arm in summary["arms"])
    found = []
    for arm in summary["arms"]:
        scores = [mean_sd(arm["scores"].get(part, {}).get(name)) for part in ("train", "validation", "test")]
        if best_column:
            best = arm["best_epoch"]
            scores.append(mean_sd(best["scores"].get("test", {}).get(name)) if best else "–")
        found.append(
            [arm["arm"], arm["area"] or "–", seeds_words(arm), *scores, difference_words(arm), epochs_words(arm),
             seconds(arm["seconds"]["mean"]) if arm["seconds"] else "–"]
        )  # fmt: skip
    return found


def seeds_words(arm: Mapping[str, Any]) -> str:
    """How many runs there are, and how many of them did not end well."""
    fates = {"diverged": "diverged", "failed": "failed", "missing": "missing", "unreadable": "not readable"}
    return ", ".join([str(len(arm["seeds"])), *(f"{len(arm[key])} {word}" for key, word in fates.items() if arm[key])])


def difference_words(arm: Mapping[str, Any]) -> str:
    """Mean and range of the paired differences."""
    difference = arm["difference"]
    if difference is None:
        return "–"
    if difference["mean"] is None:
        return "no pair"
    if difference["n_pairs"] == 1:
        return signed(difference["mean"])
    return f"{signed(difference['mean'])} ({signed(difference['min'])} to {signed(difference['max'])})"


def epochs_words(arm: Mapping[str, Any]) -> str:
    epochs = arm["epochs"]
    if epochs is None:
        return "–"
    if epochs["min"] == epochs["max"]:
        return f"{epochs['mean']:.0f}"
    return f"{epochs['mean']:.0f} ({epochs['min']:.0f} to {epochs['max']:.0f})"


def sentences(summary: Summary) -> list[str]:
    """What stands below the table: the verdict on every treatment with its pairs, then the notes."""
    said = []
    for arm in summary["arms"]:
        if arm["difference"]:
            said += verdict_lines(arm["arm"], arm["reference"], arm["difference"], arm["evidence"])
    said += main_effect_lines(summary["main_effects"] or {})
    if any(arm["best_epoch"] for arm in summary["arms"]):
        selected = next(arm["best_epoch"]["selected_on"] for arm in summary["arms"] if arm["best_epoch"])
        said.append(f"* weights of the epoch with the lowest {selected}: selected on validation.")
    return [*said, *summary["notes"]]


def pair_sentence(candidate: str, baseline: str, difference: Mapping[str, Any]) -> str:
    """The difference of two history files, which have no seed and are one pair."""
    outcome = "better" if difference["wins"] else "equal" if difference["ties"] else "worse"
    text = f"{candidate} − {baseline}, {metric_words(difference['metric'])}: {signed(difference['mean'])}, {outcome}"
    return f"{text}. Paired: {difference['paired']['in_words']}."


def print_summary(out: Console, summary: Summary) -> None:
    """Table, sentences and notes; on a terminal too narrow for the table, a block of lines per arm."""
    from rich.table import Table
    from rich.text import Text

    out.print(Text(f"{summary['experiment']} ({', '.join(_origin(summary))})", style="bold"))
    out.print(Text(caption(summary)))
    table = Table(header_style="bold")
    names = columns(summary)
    for index, name in enumerate(names):
        table.add_column(name, justify="left" if index < 2 else "right")
    for row in rows(summary):
        table.add_row(*(Text(cell) for cell in row))
    if out.measure(table, options=out.options.update(width=PIPED_WIDTH)).maximum <= out.width:
        out.print(table)
    else:
        _print_blocks(out, names, rows(summary))
    for sentence in sentences(summary):
        out.print(Text(sentence))


def _print_blocks(out: Console, names: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    for arm, area, *rest in cells:
        out.print(Text.assemble((arm, "bold"), "" if area == "–" else f" ({area})"))
        facts = [f"{name} {cell}" for name, cell in zip(names[2:], rest, strict=True) if cell != "–"]
        out.print(Padding(Text(" · ".join(facts)), (0, 0, 0, 4)))


def _origin(summary: Summary) -> list[str]:
    environment = summary["environment"]
    versions = environment.get("versions", {})
    words = [f"engine {environment['engine']}", environment["device"]] if environment else []
    words += [f"{name} {versions[name]}" for name in ("keras", "tensorflow", "jax") if name in versions]
    if environment.get("mixed"):
        words.append("MIXED environments")
    return [*words, "smoke run: says nothing about the technique"] if summary["smoke"] else words


def markdown(summary: Summary, pictures: Sequence[str]) -> str:
    """``report.md``: the same table, sentences, and the pictures."""
    names = columns(summary)
    lines = [
        f"# {summary['experiment']}",
        "",
        f"{', '.join(_origin(summary)).capitalize()}. {caption(summary).capitalize()}; scores in inference mode, "
        "losses without penalties.",
        "",
        _markdown_row(names),
        _markdown_row(["---"] * len(names)),
        *(_markdown_row(row) for row in rows(summary)),
        "",
    ]
    for sentence in sentences(summary):
        text = sentence.strip()  # four spaces in front would make a block of code
        lines += [text.replace("*", "\\*", 1) if text.startswith("*") else text, ""]
    for arm in summary["arms"]:
        if arm["differences"]:
            lines += [f"## {arm['arm']}", ""]
            lines += [f"* `{change}`" for change in arm["differences"]] + [""]
            mine = [name for name in pictures if name in (f"curves_{arm['arm']}.png", f"difference_{arm['arm']}.png")]
            lines += [line for name in mine for line in (f"![{name}]({name})", "")]
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
