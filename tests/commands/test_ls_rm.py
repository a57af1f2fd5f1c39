import datetime
import pathlib

import click
import pytest
from shell import bdl
from stored import Stored, config_with

RUNS = pathlib.Path("runs")


@pytest.fixture
def stored(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    monkeypatch.chdir(tmp_path)
    stored = Stored(RUNS)
    stored.add("control", [0.80, 0.70, 0.90])
    stored.add("dropout", [0.85])
    stored.add_failure("dropout", 1)
    return stored


# ---- ls ----


def date(stored: Stored) -> str:
    return f"{datetime.datetime.fromtimestamp((stored.path / 'plan.json').stat().st_mtime):%Y-%m-%d %H:%M}"


def test_ls_tells_how_far_each_experiment_is_and_when_it_was_run(stored: Stored) -> None:
    other = Stored(RUNS, config_with(name="zzz", seeds=1, techniques={}))
    result = bdl("ls")
    assert result.code == 0
    assert result.out.splitlines() == [
        f"{stored.name}: 4 of 6 runs finished, 1 failed; arms control, dropout; {date(stored)}",
        f"{other.name}: 0 of 1 run finished; arms control; {date(other)}",
    ]


def test_ls_tells_experiments_of_one_name_apart(stored: Stored) -> None:
    Stored(RUNS, config_with(**{"training.epochs": 9}))
    assert {line.split("  ")[-1] for line in bdl("ls").out.splitlines()} == {"training.epochs=3", "training.epochs=9"}


def test_ls_as_json(stored: Stored) -> None:
    assert bdl("ls", "--json").json == {
        "schema": "bdl.ls/1",
        "experiments": [
            {
                "experiment": stored.name,
                "name": "made-up",
                "id": stored.plan.id,
                "arms": ["control", "dropout"],
                "seeds": 3,
                "runs": 6,
                "finished": 4,
                "failed": 1,
                "damaged": 0,
                "facts": date(stored),
            }
        ],
    }


def test_torn_runs_are_not_finished(stored: Stored) -> None:
    (stored.directory.run_path("control", 0) / "history.json").unlink()
    assert "3 of 6 runs finished, 1 failed, 1 damaged;" in bdl("ls").out


def test_ls_of_an_empty_or_missing_folder(stored: Stored, tmp_path: pathlib.Path) -> None:
    for folder in (tmp_path / "nowhere", stored.path):
        result = bdl("ls", "--runs", folder)
        assert (result.code, result.out, result.err) == (0, "", f"no experiments in {folder}\n")
    assert bdl("ls", "--runs", tmp_path / "nowhere", "--json").json["experiments"] == []


def test_a_broken_experiment_does_not_hide_the_others(stored: Stored) -> None:
    broken = Stored(RUNS, config_with(name="broken"))
    (broken.path / "plan.json").write_text("{")
    result = bdl("ls")
    assert result.code == 0
    assert result.out.startswith(stored.name)
    assert f"bdl: {broken.path}/plan.json is damaged: expected the plan of an experiment, found " in result.err


# ---- rm ----


@pytest.mark.parametrize("answer", ["y\n", "yes\n"])
def test_rm_asks_and_removes(stored: Stored, answer: str) -> None:
    result = bdl("rm", "made-up", answer=answer)
    assert (result.code, result.out) == (0, f"removed {stored.path}\n")
    assert result.err.startswith(f"Remove {stored.path} with 5 runs? [y/N]: ")
    assert list(RUNS.iterdir()) == [RUNS / "config.yaml"]


@pytest.mark.parametrize("answer", ["\n", "n\n"])
def test_rm_asks_and_leaves_it(stored: Stored, answer: str) -> None:
    result = bdl("rm", "made-up", answer=answer)
    assert (result.code, result.out) == (0, "")
    assert result.err.endswith("nothing was removed\n")
    assert stored.path.is_dir()


def test_no_answer_is_no_and_says_so(stored: Stored) -> None:
    result = bdl("rm", "made-up")
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines()[1:] == [
        "bdl: nothing was removed: nobody answered; in a script, --yes removes without asking"
    ]
    assert stored.path.is_dir()


def test_an_interrupt_at_the_question_is_an_interrupt(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(click.termui, "visible_prompt_func", interrupt)
    result = bdl("rm", "made-up")
    assert result.code == 130
    assert result.err.splitlines()[-1] == "bdl: interrupted"
    assert stored.path.is_dir()


def test_rm_counts_one_run_as_one(stored: Stored) -> None:
    one = Stored(RUNS, config_with(name="one", seeds=1))
    one.add("control", [0.8])
    assert bdl("rm", "one", answer="n\n").err.startswith(f"Remove {one.path} with 1 run? ")


@pytest.mark.parametrize("flag", ["--yes", "-y"])
def test_rm_does_not_ask_when_told(stored: Stored, flag: str) -> None:
    result = bdl("rm", flag, "made")
    assert (result.code, result.err) == (0, "")
    assert not stored.path.exists()


def test_rm_takes_a_path(stored: Stored) -> None:
    assert bdl("rm", "-y", stored.path).code == 0
    assert not stored.path.exists()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("", "expected the name of an experiment, found an empty one"),
        ("made", "'made' names 2 experiments in runs; say which one"),
        ("zzz", "found nothing called 'zzz' in runs"),
        (".", "found nothing called '.' in runs"),
        ("made-up:control", "found nothing called 'made-up:control' in runs"),
        ("x" * 5000, "found nothing called 'xxx"),
    ],
)
def test_rm_removes_nothing_when_it_is_not_clear_what(stored: Stored, word: str, message: str) -> None:
    Stored(RUNS, config_with(name="made-elsewhere"))
    before = sorted(RUNS.rglob("*"))
    result = bdl("rm", "-y", word)
    assert result.code == 2
    assert message in result.err
    assert sorted(RUNS.rglob("*")) == before
    assert stored.path.is_dir()


def test_a_part_of_an_experiment_is_not_removed(stored: Stored) -> None:
    part = stored.directory.run_path("control", 0)
    result = bdl("rm", "-y", part)
    assert result.code == 2
    assert (
        result.err
        == f"bdl: expected an experiment, found a part of one: {part}; all of it is {stored.path.absolute()}\n"
    )
    assert stored.directory.run_path("control", 0).is_dir()


def test_an_experiment_in_use_is_not_removed(stored: Stored) -> None:
    with stored.directory.locked():
        result = bdl("rm", "-y", "made-up")
    assert result.code == 1
    assert "is in use by process " in result.err
    assert stored.path.is_dir()


def test_a_broken_experiment_can_be_removed(stored: Stored) -> None:
    (stored.path / "plan.json").write_text("{")
    result = bdl("rm", "-y", stored.name)
    assert (result.code, result.out) == (0, f"removed {stored.path}\n")
