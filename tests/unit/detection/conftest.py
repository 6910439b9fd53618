"""Cut-outs as small as they may be, made here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def line():
    def line_(name: str = "cone/a-00", **changes: object) -> dict[str, object]:
        label, _, rest = name.partition("/")
        fields = {"id": name, "file": f"{name}.png", "label": label, "variant": rest.partition("-")[0]}
        return {**fields, "view": 0, "split": "train", "height_m": 0.75, **changes}

    return line_


@pytest.fixture
def cutouts_folder(tmp_path):
    """Writes a folder of the lines, with a picture of 12 x 20 for each, or that of ``pictures``."""

    def write(*lines: dict[str, object], pictures: dict[str, np.ndarray] | None = None, folder: str = "set") -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        for entry in lines:
            if not str(entry["file"]).startswith(("/", "..")):
                save(root / str(entry["file"]), np.full((20, 12, 4), (200, 90, 20, 255), np.uint8))
        for name, picture in (pictures or {}).items():
            save(root / name, picture)
        (root / "cutouts.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
        return root

    return write


def save(file: Path, picture: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file)
