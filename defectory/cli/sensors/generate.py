"""``defectory sensors generate``: a year of labelled data for each machine of an industry.

Everything heavy is imported where it is used, so that ``--help`` answers at once.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defectory.cli.options import JsonOption, out_folder
from defectory.cli.output import print_json, print_table, progress_bars, remark

if TYPE_CHECKING:
    from defectory.sensors.generate import Generation


class AuthorChoice(StrEnum):
    """Who lists the machines and writes the scripts."""

    catalogue = "catalogue"
    bedrock = "bedrock"


class PromptStyleChoice(StrEnum):
    """How author bedrock is asked."""

    library = "library"
    freeform = "freeform"


class ServiceTierChoice(StrEnum):
    """What author bedrock's scripts are written at."""

    default = "default"
    flex = "flex"


def generate(
    industry: Annotated[str, typer.Option(help="Industry, such as semiconductor.")],
    number: Annotated[int, typer.Option(help="How many machines, 1 to 50.")],
    user_id: Annotated[str, typer.Option(help="Whom the data is for; it is kept in each dataset's manifest.")],
    out: Annotated[Path, out_folder("New or empty folder for the datasets.")],
    author: Annotated[
        AuthorChoice, typer.Option(help="catalogue: curated, offline, free. bedrock: a model writes it.")
    ] = AuthorChoice.catalogue,
    model_id: Annotated[str | None, typer.Option(help="Inference profile id, for author bedrock.")] = None,
    base_model_id: Annotated[
        str | None, typer.Option(help="Model behind the profile, where its id does not tell.")
    ] = None,
    service_tier: Annotated[
        ServiceTierChoice, typer.Option(help="For author bedrock: flex is cheaper and slower.")
    ] = ServiceTierChoice.default,
    prompt_style: Annotated[
        PromptStyleChoice, typer.Option(help="For author bedrock: with the signals library, or free.")
    ] = PromptStyleChoice.library,
    region: Annotated[str | None, typer.Option(help="AWS region of the model.", show_default="from AWS_REGION")] = None,
    year: Annotated[int | None, typer.Option(help="Calendar year.", show_default="the last complete one")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Generate a year of labelled data for each machine of an industry, on this machine, without any cloud.

    Example:

        defectory sensors generate --industry steel --number 3 --user-id ann --out data
    """
    from defectory.sensors.service.requests import parse_event

    # Before the rest is imported, which takes a second.
    parse_event({"industry": industry, "number": number, "user_id": user_id})
    from defectory.sensors.authors import create_author
    from defectory.sensors.generate import generate_datasets

    writer = create_author(
        author.value,
        model_id=model_id,
        base_model_id=base_model_id,
        prompt_style=prompt_style.value,
        service_tier=service_tier.value,
        region=region,
    )
    with progress_bars() as show:
        generation = generate_datasets(
            industry, number, user_id, out, author=writer, year=year, seed=seed, on_progress=show
        )
    if as_json:
        print_json(_describe(generation, out))
    else:
        _show_generation(generation, out)
    if generation.failed:
        raise typer.Exit(1)


def _describe(generation: Generation, out: Path) -> dict[str, object]:
    machines = [
        {
            "name": machine.name,
            "slug": machine.slug,
            "ok": machine.folder is not None,
            "folder": None if machine.folder is None else str(machine.folder),
            "attempts": machine.attempts,
            "reasons": machine.reasons,
        }
        for machine in generation.machines
    ]
    return {"out": str(out), "note": generation.note, "warnings": generation.warnings, "machines": machines}


def _show_generation(generation: Generation, out: Path) -> None:
    rows = [
        {
            "machine": machine.name,
            "result": "ready" if machine.folder else "FAILED",
            "folder or reason": machine.slug if machine.folder else "\n".join(machine.reasons),
        }
        for machine in generation.machines
    ]
    print_table(f"Datasets in {out}", ["machine", "result", "folder or reason"], rows)
    for note in filter(None, (generation.note, *generation.warnings)):
        remark(f"Note: {note}")
    ready = len(generation.machines) - len(generation.failed)
    typer.echo(f"{ready} of {len(generation.machines)} datasets are ready; start with {out / 'index.html'}")
