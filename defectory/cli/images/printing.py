"""What the commands of ``defectory images`` say of plans, pictures, costs and the gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from defectory.cli.output import complain, remark

if TYPE_CHECKING:
    from defectory.images.balancing import Balanced
    from defectory.images.costs import Cost
    from defectory.images.gate_result import GateResult
    from defectory.images.jobs import SynthesisJob
    from defectory.images.plan import Plan
    from defectory.images.selection import Selection
    from defectory.images.synthesis import Summary

MOST_LINES = 10


def show_plan(plan: Plan) -> None:
    """What there is, what is to be made of each kind, and why."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{plan.good} good parts; target: {plan.target} of each defect", title_justify="left")
    for column in ("defect", "there", "to make", "by", "why"):
        table.add_column(column, justify="right" if column in {"there", "to make"} else "left")
    wants = {want.defect: want for want in plan.wants}
    for kind, have in sorted(plan.have.items()):
        want = wants.get(kind)
        if want:
            table.add_row(kind, str(have), str(want.count), want.renderer, want.why)
        else:
            table.add_row(kind, str(have), "0", "", plan.left_out.get(kind, "there are enough"))
    Console().print(table)
    if plan.left_out:
        remark(f"Not planned: {', '.join(plan.left_out)}; see why above.")


def show_preparation(selection: Selection, estimate: Cost | None) -> None:
    """Real defects that cannot be moved, and what the pictures will cost."""
    for reason in selection.unusable:
        remark(f"Real defect left out: {reason}")
    if estimate:
        typer.echo(f"Estimate: {estimate}.", err=True)


def show_synthesized(job: SynthesisJob, summary: Summary) -> None:
    """What came of a run."""
    _show_refused(job.refused)
    _show_summary(summary, job.out)
    _show_cost(job.selection.actual_cost())


def describe_synthesized(job: SynthesisJob, summary: Summary) -> dict[str, object]:
    """The same, for programs."""
    cost = _describe_cost(job.selection.actual_cost())
    content = summary.model_dump(mode="json") | {"refused_photos": job.refused, "cost": cost}
    return {"out": str(job.out), "made": summary.made, **content}


def _show_refused(refused: Mapping[str, str]) -> None:
    for name, reason in refused.items():
        remark(f"Photo left out: {name}: {reason}")


def _show_summary(summary: Summary, out: Path) -> None:
    from defectory.images.contact_sheet import CONTACT_SHEET

    lines = Counter(
        f"{item.outcome}: {item.defect}{f' on {item.source}' if item.source else ''}: {item.reason}"
        for item in summary.unmade
    )
    for line, times in list(lines.items())[:MOST_LINES]:
        remark(f"{line}{f' ({times} times)' if times > 1 else ''}")
    if len(lines) > MOST_LINES:
        remark(f"... and more: {out / CONTACT_SHEET} names them.")
    if summary.stopped:
        complain(f"Stopped with {summary.untried} still to make: {summary.stopped}")
        complain("Run the same command again for them.")
    for kind, outcomes in summary.outcomes.items():
        typer.echo(f"{kind}: {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}")
    before = f" ({summary.present} were there before)" if summary.present else ""
    typer.echo(f"{summary.made} of {summary.asked} pictures{before}; {out} holds {summary.images}.")
    if summary.images:
        typer.echo(f"Look at them: {out / CONTACT_SHEET}")


def _show_cost(cost: Cost | None) -> None:
    if cost:
        typer.echo(f"Cost: {cost}.")


def _describe_cost(cost: Cost | None) -> dict[str, object] | None:
    return cost.model_dump(mode="json") if cost else None


def show_balanced(balanced: Balanced, out: Path, cost: Cost | None) -> None:
    """What came of balancing a dataset."""
    _show_refused(balanced.refused_photos)
    _show_summary(balanced.summary, out / "synthetic")
    if balanced.gate:
        _show_gate(balanced.gate)
    for name, reason in balanced.left_out:
        remark(f"Left out: {name} ({reason})")
    dataset = balanced.dataset
    synthetic = sum(record.synthetic for record in dataset.records)
    typer.echo(
        f"{balanced.file}: {len(dataset.normal)} good parts and {len(dataset.anomalous)} defects, "
        f"{synthetic} of them synthetic, version {dataset.version}."
    )
    if not balanced.kept and balanced.summary.made:
        typer.echo(f"The synthetic images are not in it, but in {out / 'synthetic'}; --keep-all keeps them unasked.")
    _show_cost(cost)


def describe_balanced(balanced: Balanced, cost: Cost | None) -> dict[str, object]:
    """The same, for programs."""
    return {
        "file": str(balanced.file),
        "kept": balanced.kept,
        "gate": balanced.gate.model_dump(mode="json") if balanced.gate else None,
        "version": balanced.dataset.version,
        "images": len(balanced.dataset.records),
        "synthetic": sum(record.synthetic for record in balanced.dataset.records),
        "left_out": balanced.left_out,
        "synthesis": balanced.summary.model_dump(mode="json"),
        "cost": _describe_cost(cost),
    }


def _show_gate(gate: GateResult) -> None:
    colour = typer.colors.GREEN if gate.decision == "kept" else typer.colors.YELLOW
    typer.secho(f"Gate: {gate.decision}. {gate.reason}", fg=colour)
    for name, figure in gate.figures.items():
        typer.echo(
            f"  {name}: {_mean(figure.without):.3f} without, {_mean(figure.with_synthetic):.3f} with "
            f"({figure.difference:+.3f}, 95 % {figure.low:+.3f} to {figure.high:+.3f})"
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
