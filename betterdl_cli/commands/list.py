"""``bdl list``: techniques, datasets and models, with their cards."""

from __future__ import annotations

import json
from typing import Any

import click

from betterdl_cli.errors import UsageError


@click.command(name="list", short_help="techniques, datasets and models, with their cards")
@click.argument("what", required=False, metavar="[techniques|datasets|models]")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(what: str | None, name: str | None, as_json: bool) -> None:
    """List what a config can name; with NAME, its card: what it does, parameters, when it helps and when it hurts."""
    from betterdl_cli.errors import nearest
    from betterdl_cli.report.cards import card_document, card_text, catalogue, overview

    kinds = catalogue()
    if what is not None and what not in kinds:
        known = {entry: kind for kind, registry in kinds.items() for entry in registry.names}
        if name is None and what in known:  # bdl list dropout
            what, name = known[what], what
        else:
            guess = f"{known[what]} {what}" if what in known else nearest(what, [*kinds, *known])
            hint = f" (did you mean '{guess}'?)" if guess else ""
            what = what if name is None else f"{what} {name}"
            raise UsageError(f"expected {', '.join(kinds)} or the name of one of them, found '{what}'{hint}")
    if what is None or name is None:
        chosen = kinds if what is None else {what: kinds[what]}
        text = {kind: [card_document(registry, entry) for entry in registry.names] for kind, registry in chosen.items()}
        click.echo(json.dumps({"schema": "bdl.catalogue/1", **text}, indent=1) if as_json else overview(text))
        return
    registry: Any = kinds[what]
    try:
        document = card_document(registry, name)
    except LookupError as error:
        guess = getattr(error, "suggestion", None)
        raise UsageError(str(error) + (f" (did you mean '{guess}'?)" if guess else "")) from None
    click.echo(json.dumps({"schema": "bdl.card/1", **document}, indent=1) if as_json else card_text(document))
