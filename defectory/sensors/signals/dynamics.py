"""Dynamics: first-order lags, autoregressive noise and other minute-by-minute behaviour, vectorised."""

from __future__ import annotations

import math
import zlib
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floating = TypeVar("Floating", np.float64, np.float32)


def generator(seed: int, *tags: str) -> np.random.Generator:
    """A random stream of its own for each purpose, so that adding one signal never changes another."""
    return np.random.Generator(np.random.SFC64([seed, *(zlib.crc32(tag.encode()) for tag in tags)]))


def ewm(values: NDArray[Floating], alpha: float) -> NDArray[Floating]:
    """``y[t] = y[t-1] + alpha * (x[t] - y[t-1])``, starting at ``x[0]``."""
    return pl.Series(values).ewm_mean(alpha=alpha, adjust=False).to_numpy(writable=True)


def lag(values: Array, minutes: float, falling: float | None = None) -> Array:
    """First-order response with time constant ``minutes``; ``falling`` is the time constant on the way down.

    With two constants the response is the upper (or lower) envelope of two single-constant responses: exact while
    the input keeps one direction, continuous where it turns.
    """
    if minutes <= 0 or (falling is not None and falling <= 0):
        raise ValueError("lag: minutes and falling must be > 0")
    rising = ewm(values, -math.expm1(-1.0 / minutes))
    if falling is None or falling == minutes:
        return rising
    down = ewm(values, -math.expm1(-1.0 / falling))
    return np.maximum(rising, down) if falling > minutes else np.minimum(rising, down)


def autoregressive(rng: np.random.Generator, n: int, memory: float, deviation: float) -> Array:
    """Stationary AR(1) noise with lag-1 autocorrelation ``memory`` and standard deviation ``deviation``."""
    white = rng.standard_normal(n)
    if memory <= 0:
        return np.asarray(white * deviation)
    alpha = 1.0 - memory
    white[0] *= math.sqrt(alpha / (2.0 - alpha))
    smooth = ewm(white, alpha)
    smooth *= deviation / math.sqrt(alpha / (2.0 - alpha))
    return smooth


def measurement_noise(rng: np.random.Generator, n: int, memory: float, deviation: float) -> NDArray[np.float32]:
    """Noise of a sensor on a process: an AR(1) part with the process' ``memory`` plus the sensor's own white part.

    One stream drives both (the sum is an ARMA(1,1) process); the white part has a fifth of the AR part's deviation.
    """
    # Single precision: noise needs no more, and it halves the cost of the dearest step of a dataset.
    white = rng.standard_normal(n, dtype=np.float32)
    if memory <= 0:
        white *= deviation
        return white
    alpha = 1.0 - memory
    smooth_deviation = math.sqrt(alpha / (2.0 - alpha))
    smooth = ewm(white, alpha)
    scale = deviation / math.sqrt(1.0 + 0.04 + 0.4 * alpha / smooth_deviation)
    smooth *= scale / smooth_deviation
    white *= 0.2 * scale
    smooth += white
    return smooth


def piecewise(rng: np.random.Generator, n: int, mean_minutes: float) -> NDArray[np.int64]:
    """Index of the current span for spans of random length (gamma, shape 4) with the given mean, shape ``(n,)``."""
    count = int(n / mean_minutes * 1.6) + 16
    lengths = np.maximum(1, rng.gamma(4.0, mean_minutes / 4.0, count)).astype(np.int64)
    while lengths.sum() < n:
        lengths = np.concatenate([lengths, lengths])
    edges = np.cumsum(lengths)
    edges = edges[: int(np.searchsorted(edges, n)) + 1]
    lengths = np.diff(edges, prepend=0)
    return np.repeat(np.arange(lengths.size), lengths)[:n]
