"""Which arms an experiment has, beside those written out under ``arms``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from betterdl_cli.config.experiment import Design, Recipe, Use
from betterdl_cli.errors import Fault

FULL, WITHOUT, AND, AA = "full", "without-", "-and-", "control-aa"
MOST_FACTORS = 6  # 64 arms


def designed(
    design: Design,
    techniques: Mapping[str, Sequence[Recipe]],
    stacked: Sequence[Recipe],
    *,
    aa: bool,
    faults: list[Fault],
) -> tuple[Recipe, ...]:
    """The arms in order.

    * ``one-at-a-time``: the control with one technique each.
    * ``leave-one-out``: the control with all techniques (``full``), and all but one each, held against ``full``.
    * ``factorial``: every combination of the techniques; at most 6.

    ``aa`` adds a second control with other seeds, whose difference to the first is noise.
    """
    second = [Recipe(id=AA, uses=(), path=("aa",), seed_stream=AA)] if aa else []
    if design == "one-at-a-time":
        return (*itertools.chain.from_iterable(techniques.values()), *stacked, *second)
    most = MOST_FACTORS if design == "factorial" else None
    if len(techniques) < 2 or (most and len(techniques) > most):
        expected = f"2 to {most} techniques" if most else "at least 2 techniques"
        faults.append(Fault(f"expected {expected} for the design {design}, found {len(techniques)}", ("techniques",)))
    for name, recipes in techniques.items():
        if len(recipes) > 1:
            message = f"expected single values for the design {design}, found a sweep of {len(recipes)} arms"
            faults.append(Fault(message, ("techniques", name)))
    if stacked:
        faults.append(Fault(f"expected no arms beside those of the design {design}, found {len(stacked)}", ("arms",)))
    uses = {name: recipes[0].uses[0] for name, recipes in techniques.items() if recipes}
    arms = _leave_one_out(uses) if design == "leave-one-out" else _factorial(uses)
    return (*arms, *second) if most is None or len(uses) <= most else ()


def _leave_one_out(uses: Mapping[str, Use]) -> list[Recipe]:
    full = Recipe(id=FULL, uses=tuple(uses.values()), path=("techniques",))
    return [
        full,
        *(
            Recipe(
                id=f"{WITHOUT}{left_out}",
                uses=tuple(use for name, use in uses.items() if name != left_out),
                path=("techniques", left_out),
                reference=FULL,
            )
            for left_out in uses
        ),
    ]


def _factorial(uses: Mapping[str, Use]) -> list[Recipe]:
    return [
        Recipe(id=AND.join(chosen), uses=tuple(uses[name] for name in chosen), path=("techniques", chosen[0]))
        for size in range(1, len(uses) + 1)
        for chosen in itertools.combinations(uses, size)
    ]
