"""Anomalies: faults put into finished signals, scaled to each signal's own variation, with their ground truth.

Every kind has a magnitude relative to how the signal normally varies, so that each label is real (it changes the
signal visibly) and none is trivial (it stays inside the sensor's range and mostly inside the signal's yearly span).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from defectory.sensors.arrays import RowMask
from defectory.sensors.signals.dynamics import Array, autoregressive

# Shortest and longest window of each kind, in minutes.
WINDOWS: dict[str, tuple[int, int]] = {
    "spike": (1, 3),
    "level_shift": (60, 420),
    "drift": (180, 960),
    "stuck": (60, 360),
    "noise_burst": (40, 240),
    "oscillation": (60, 300),
    "dropout": (4, 25),
}


@dataclass(frozen=True, slots=True)
class FaultLabel:
    """Minutes ``start..end`` (both inclusive) in which ``signal`` misbehaves; severity in its normal deviations."""

    start: int
    end: int
    signal: str
    kind: str
    severity: float


@dataclass(frozen=True, slots=True)
class Variation:
    """How a clean signal varies: ``noise`` minute to minute, ``daily`` within a day of operation, ``sigma`` both."""

    noise: float
    daily: float

    @property
    def sigma(self) -> float:
        """The standard deviation of both together, in the signal's unit."""
        return float(np.hypot(self.noise, self.daily))

    @classmethod
    def of(cls, values: Array, on: RowMask, noise: float, resolution: float) -> Variation:
        """Measure ``values`` on up to 60 days of operation."""
        days = values.size // 1440
        sample_days = np.linspace(0, days - 1, 60).astype(int)
        spreads = []
        for day in sample_days.tolist():
            span = slice(day * 1440, day * 1440 + 1440)
            part = values[span][on[span]]
            if part.size >= 120:
                spreads.append(part.std())
        daily = float(np.median(spreads)) if spreads else float(values.std())
        return cls(noise=max(noise, resolution / 2), daily=daily)


def deviation(
    kind: str, clean: Array, before: float, low: float, variation: Variation, direction: int, strength: float,
    rng: np.random.Generator,
) -> Array:  # fmt: skip
    """What ``kind`` turns the window ``clean`` into, before the sensor's range is applied.

    ``before`` is the last value before the window; ``direction`` is 1 or -1; ``strength`` in 0..1 moves between the
    mildest and the strongest magnitude of the kind.
    """
    n = clean.size
    noise, daily = variation.noise, variation.daily
    slow = (1.3 + 1.2 * strength) * max(4.0 * noise, 0.9 * daily)
    if kind == "spike":
        shape = np.array([1.0]) if n == 1 else np.concatenate([[1.0], rng.uniform(0.35, 0.8, n - 1)])
        return clean + direction * (1.0 + 0.8 * strength) * max(9.0 * noise, 1.6 * daily) * shape
    if kind == "level_shift":
        return np.asarray(clean + direction * slow)
    if kind == "drift":
        return clean + direction * 1.25 * slow * np.linspace(0.0, 1.0, n) ** rng.uniform(0.8, 1.4)
    if kind == "stuck":
        return np.full(n, before)
    if kind == "noise_burst":
        scale = (1.0 + strength) * max(4.0 * noise, 0.45 * daily)
        return np.asarray(clean + autoregressive(rng, n, 0.2, scale))
    if kind == "oscillation":
        period = rng.uniform(6.0, 24.0)
        amplitude = (1.0 + strength) * max(4.5 * noise, 0.7 * daily)
        envelope = np.minimum(1.0, np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) / (1.5 * period))
        return np.asarray(clean + amplitude * envelope * np.sin(2 * np.pi * np.arange(n) / period))
    if kind == "dropout":
        return np.full(n, low, np.float64)
    raise ValueError(f"anomalies: unknown kind {kind!r}; known are {', '.join(WINDOWS)}")


def effect_is_real(kind: str, clean: Array, faulty: Array, variation: Variation, resolution: float) -> bool:
    """Whether the fault shows after quantisation and saturation, and is not a mere continuation of what was there."""
    change = np.abs(faulty - clean)
    peak = float(change.max())
    if kind == "stuck":
        return float(np.ptp(clean)) >= max(4.0 * variation.noise, 0.5 * variation.daily, 4.0 * resolution)
    if kind == "dropout":
        return float(np.median(change)) >= max(6.0 * variation.noise, 1.2 * variation.daily)
    if kind in {"noise_burst", "oscillation"}:
        return float(change.std()) >= 0.6 * max(2.5 * variation.noise, 0.3 * variation.daily)
    return peak >= max(3.5 * variation.noise, 0.8 * variation.daily, 4.0 * resolution)
