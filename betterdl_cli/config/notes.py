"""What a valid config states that its author may not have meant, as far as it is known without loading the data."""

from __future__ import annotations

from betterdl_cli.config.loading import Loaded
from betterdl_cli.expand import normalised_over_rows
from betterdl_cli.spec import DataSpec


def notes(loaded: Loaded) -> list[str]:
    return [text for text in (_whole_batches(loaded), _last_batch_of_one(loaded)) if text]


def _whole_batches(loaded: Loaded) -> str:
    """Two batch sizes that are one, because a batch cannot have more rows than there are."""
    rows = training_rows(loaded.experiment.data)
    sizes = sorted({arm.spec.training.batch_size for arm in loaded.arms})
    larger = [size for size in sizes if rows is not None and size > rows]
    named = " and ".join(str(size) for size in larger[:5]) + (" and more" if len(larger) > 5 else "")
    if not larger or len([size for size in sizes if rows is not None and size >= rows]) < 2:
        return ""
    return (
        f"batch size {named}: more than the {rows} training rows, so every update sees all of them; "
        "arms that differ only by that are the same"
    )


def _last_batch_of_one(loaded: Loaded) -> str:
    """Arms that end every epoch with a batch in which batch normalisation leaves nothing to learn from."""
    rows = training_rows(loaded.experiment.data)
    arms = [arm for arm in loaded.arms if rows is not None and rows % arm.spec.training.batch_size == 1]
    named = [arm.id for arm in arms if arm.spec.training.batch_size > 1 and normalised_over_rows(arm.spec)]
    if not named:
        return ""
    return (
        f"{', '.join(named[:5])}{' and more' if len(named) > 5 else ''}: the last batch of every epoch has one of the "
        f"{rows} training rows, which batch normalisation turns into a constant; another batch size avoids that"
    )


def training_rows(data: DataSpec) -> int | None:
    """How many rows the training part has; None when only the data can tell."""
    part, rows = data.split.train, data.parameters.get("n_samples")
    if data.row_limit is not None:
        return None
    if isinstance(part, int):
        return part
    return int(part * rows + 1e-9) if isinstance(rows, int) else None
