"""Sensor data: from an industry's name to a year of labelled data per machine.

Its names are loaded when they are asked for: generated scripts import ``defectory.sensors.signals`` inside the sandbox,
and every module imported on the way there costs each of them start-up time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from defectory.lazy import load_lazily

if TYPE_CHECKING:
    from defectory.sensors.contract import check_dataset as check_dataset
    from defectory.sensors.dataset import load_data as load_data
    from defectory.sensors.dataset import load_labels as load_labels
    from defectory.sensors.generate import generate_datasets as generate_datasets
    from defectory.sensors.machines import machine_slug as machine_slug
    from defectory.sensors.machines import parse_machine_list as parse_machine_list
    from defectory.sensors.policy import check_script as check_script
    from defectory.sensors.sandbox import run_script as run_script
    from defectory.sensors.scripts import extract_script as extract_script
    from defectory.sensors.signals import Machine as Machine

__getattr__, __dir__, __all__ = load_lazily(
    __name__,
    {
        "defectory.sensors.generate": ("generate_datasets",),
        "defectory.sensors.signals": ("Machine",),
        "defectory.sensors.dataset": (
            "load_data",
            "load_labels",
        ),
        "defectory.sensors.contract": ("check_dataset",),
        "defectory.sensors.machines": (
            "machine_slug",
            "parse_machine_list",
        ),
        "defectory.sensors.scripts": ("extract_script",),
        "defectory.sensors.policy": ("check_script",),
        "defectory.sensors.sandbox": ("run_script",),
    },
)
