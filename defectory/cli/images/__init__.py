"""``defectory images``: plan, make and try pictures of defects, so that a dataset has enough of each.

One module a command; all options stand in ``options``, and what is printed in ``printing``.
"""

from __future__ import annotations

import typer

from defectory.cli.images import balance, plan, synthesize

app = typer.Typer(no_args_is_help=True, help="Pictures of defects, with masks, made from photos of good parts.")
app.command()(plan.plan)
app.command()(synthesize.synthesize)
app.command()(balance.balance)
