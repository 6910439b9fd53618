"""Finishing: make a checked dataset a deliverable, with provenance, contract results, script, report and hashes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from defectory.sensors.authors import Script
from defectory.sensors.contract import ContractReport
from defectory.sensors.dataset import (
    GENERATOR,
    MANIFEST,
    REPORT,
    FileEntry,
    Provenance,
    read_manifest,
    write_manifest,
)
from defectory.sensors.pipeline.artifacts import DATASET_FILES
from defectory.sensors.report import write_report
from defectory.sensors.signals.operation import minutes_in

DELIVERED_FILES = (*DATASET_FILES, GENERATOR, REPORT)


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose dataset it is and how it came about: what the manifest has to say that the script cannot know."""

    machine: str
    slug: str
    industry: str
    user_id: str
    created_at: str
    script: Script
    attempts: int
    request_id: str | None = None
    layers: tuple[str, ...] = ()


def finish_dataset(folder: Path, origin: Origin, contract: ContractReport) -> None:
    """Complete the manifest in ``folder`` and add ``generator.py`` and ``report.html``.

    ``folder`` holds a dataset that ``contract`` found in order.

    Raises:
        InputError: the manifest cannot be read.
    """
    script = origin.script
    manifest = read_manifest(folder)
    manifest = manifest.model_copy(
        update={
            "machine": origin.machine,
            "slug": origin.slug,
            "industry": origin.industry,
            "user_id": origin.user_id,
            "request_id": origin.request_id,
            "created_at": origin.created_at,
            "rows": minutes_in(manifest.year),
            "provenance": Provenance(
                author=script.author,
                model_id=script.model_id,
                prompt_style=script.prompt_style,
                prompt_sha256=_sha256(script.prompt.encode()) if script.prompt else None,
                script_sha256=_sha256(script.source.encode()),
                attempts=origin.attempts,
                tokens=script.tokens,
                tier=script.tier,
                sandbox_layers=origin.layers,
            ),
            "contract": contract.checks,
            "files": {},
        }
    )
    (folder / GENERATOR).write_text(script.source, encoding="utf-8", newline="")
    write_manifest(folder, manifest)
    write_report(folder)
    files = {name: _entry(folder / name) for name in DELIVERED_FILES if name != MANIFEST}
    write_manifest(folder, manifest.model_copy(update={"files": files}))


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        return FileEntry(bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
