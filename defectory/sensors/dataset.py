"""What a dataset folder holds: file names, the manifest ``dataset.json``, and how to read it.

```
<machine slug>/
├── data.csv        Timestamp, then one column a signal; one row a minute for a whole year
├── data.parquet    the same values, typed
├── labels.csv      start,end,signal,kind,severity   (both ends inclusive, same format as Timestamp)
├── events.csv      start,end,kind,name              (what the operator's log would say: stops, maintenance, failures)
├── dataset.json    the manifest below
├── generator.py    the script that wrote the data
└── report.html     one self-contained page
```

A generated script writes ``data.csv``, ``labels.csv`` and a ``dataset.json`` with the *declared* part of the manifest
(``machine``, ``year``, ``seed``, ``signals``, ``correlations``); publishing completes it with provenance and results.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from defectory.aws.tokens import TokenUsage
from defectory.errors import InputError
from defectory.validation import FrozenModel

if TYPE_CHECKING:
    import pandas as pd

DATA_CSV = "data.csv"
DATA_PARQUET = "data.parquet"
LABELS_CSV = "labels.csv"
EVENTS_CSV = "events.csv"
MANIFEST = "dataset.json"
GENERATOR = "generator.py"
REPORT = "report.html"

TIMESTAMP = "Timestamp"
TIMESTAMP_FORMAT = "%Y-%m-%d %H:%M:%S"
LABEL_COLUMNS = ("start", "end", "signal", "kind", "severity")
EVENT_COLUMNS = ("start", "end", "kind", "name")

SignalKind = Literal[
    "temperature", "pressure", "flow", "level", "speed", "current", "voltage", "power", "vibration",
    "torque", "force", "position", "humidity", "concentration", "count", "state",
]  # fmt: skip
AnomalyKind = Literal[
    "spike", "level_shift", "drift", "stuck", "noise_burst", "oscillation", "dropout", "precursor"
]  # fmt: skip


class SignalSpec(FrozenModel):
    """One column of ``data.csv``: ``low <= value <= high`` in ``unit``, in steps of ``resolution``."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")
    unit: str = Field(max_length=24)
    kind: SignalKind
    low: float
    high: float
    resolution: float | None = Field(default=None, gt=0)
    description: str = Field(default="", max_length=300)


class Correlation(FrozenModel):
    """Two signals whose correlation has a known sign, because the machine's physics couples them."""

    a: str
    b: str
    sign: Literal["+", "-"]


class CheckResult(FrozenModel):
    """Outcome of one contract check; ``detail`` names the column, the row and what to do when it failed."""

    name: str
    ok: bool
    detail: str = ""


class FileEntry(FrozenModel):
    """Size in bytes and SHA-256 of a published file."""

    bytes: int
    sha256: str


class Provenance(FrozenModel):
    """Who wrote the script, from what, for how many tokens of which service tier, and under which protection it ran."""

    author: str
    model_id: str | None = None
    prompt_style: str | None = None
    prompt_sha256: str | None = None
    script_sha256: str
    attempts: int = 1
    tokens: TokenUsage | None = None
    tier: str | None = None
    sandbox_layers: tuple[str, ...] = ()


class Manifest(FrozenModel):
    """``dataset.json``. The first block is declared by the script, the second filled in by publishing."""

    format: Literal["defectory-sensors/1"] = "defectory-sensors/1"
    machine: str
    year: int
    seed: int | None = None
    description: str = ""
    signals: tuple[SignalSpec, ...] = Field(min_length=1, max_length=64)
    correlations: tuple[Correlation, ...] = ()

    slug: str | None = None
    industry: str | None = None
    user_id: str | None = None
    request_id: str | None = None
    created_at: str | None = None
    rows: int | None = None
    provenance: Provenance | None = None
    contract: tuple[CheckResult, ...] = ()
    files: dict[str, FileEntry] = Field(default_factory=dict)


def read_manifest(folder: Path) -> Manifest:
    """Read ``dataset.json`` of a dataset folder.

    Raises:
        InputError: the file is missing, is not JSON, or breaks the format; the message names the first offending entry.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(MANIFEST, "present in the dataset folder", str(folder)) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{MANIFEST} {where}", f"valid ({first['msg']})", first.get("input")) from None


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write ``manifest`` to ``dataset.json`` in ``folder``; the same manifest gives the same bytes."""
    path = folder / MANIFEST
    path.write_text(manifest.model_dump_json(indent=1, exclude_defaults=False) + "\n", encoding="utf-8")
    return path


def load_data(folder: Path | str) -> pd.DataFrame:
    """The signals of a dataset folder: one float column a signal, indexed by ``Timestamp``, one row a minute.

    >>> data = load_data(next(Path("data").glob("*/")))
    >>> len(data), data.index.name
    (525600, 'Timestamp')
    """
    import pandas as pd
    import polars as pl

    # pandas itself would need pyarrow, which is as large as all else that this needs.
    table = pl.read_parquet(Path(folder) / DATA_PARQUET)
    return pd.DataFrame({column.name: column.to_numpy(writable=True) for column in table}).set_index(TIMESTAMP)


def load_labels(folder: Path | str) -> pd.DataFrame:
    """The labelled anomalies of a dataset folder: start, end (both inclusive), signal, kind, severity.

    >>> labels = load_labels(next(Path("data").glob("*/")))
    >>> list(labels.columns)
    ['start', 'end', 'signal', 'kind', 'severity']
    """
    import pandas as pd

    return pd.read_csv(Path(folder) / LABELS_CSV, parse_dates=["start", "end"])
