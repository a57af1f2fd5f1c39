import pathlib

import psutil
import pytest

from betterdl_cli.training import memory
from betterdl_cli.training.worker import is_out_of_memory


def put(folder: pathlib.Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten gigabytes are free."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 10_000_000_000}))


def test_without_control_groups_it_is_what_the_system_says(tmp_path: pathlib.Path) -> None:
    assert memory.available(tmp_path) == 10_000_000_000


def test_the_limit_of_a_container_counts_and_its_cache_can_be_given_back(tmp_path: pathlib.Path) -> None:
    put(tmp_path, memory__max="3000\n", memory__current="2500\n", memory__stat="anon 7\ninactive_file 200\n")
    assert memory.available(tmp_path) == 700


def test_a_container_over_its_limit_has_nothing(tmp_path: pathlib.Path) -> None:
    put(tmp_path, memory__max="3000\n", memory__current="3500\n")
    assert memory.available(tmp_path) == 0


def test_no_limit_is_written_as_max(tmp_path: pathlib.Path) -> None:
    put(tmp_path, memory__max="max\n", memory__current="3500\n")
    assert memory.available(tmp_path) == 10_000_000_000


def test_the_first_version_of_control_groups(tmp_path: pathlib.Path) -> None:
    put(
        tmp_path / "memory",
        memory__limit_in_bytes="5000\n",
        memory__usage_in_bytes="4000\n",
        memory__stat="total_inactive_file 500\n",
    )
    assert memory.available(tmp_path) == 1500


def test_kills_are_counted(tmp_path: pathlib.Path) -> None:
    assert memory.kills(tmp_path) == 0
    put(tmp_path, memory__events="low 0\noom 3\noom_kill 2\n")
    assert memory.kills(tmp_path) == 2
    put(tmp_path / "memory", memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert memory.kills(tmp_path) == 3


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes"), True),
        (type("ResourceExhaustedError", (Exception,), {})("OOM when allocating tensor"), True),
        (ValueError("no"), False),
    ],
)
def test_what_means_that_memory_ran_out(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
