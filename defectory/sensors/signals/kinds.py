"""Signal kinds: how the noise of each physical quantity behaves from one minute to the next."""

from __future__ import annotations

# Lag-1 autocorrelation of the process part of the noise at one-minute sampling.  Quantities with stored energy or
# mass (temperature, level, humidity, concentration) move slowly; electrical and mechanical ones do not.
NOISE_MEMORY: dict[str, float] = {
    "temperature": 0.97,
    "pressure": 0.80,
    "flow": 0.70,
    "level": 0.97,
    "speed": 0.60,
    "current": 0.60,
    "voltage": 0.70,
    "power": 0.60,
    "vibration": 0.50,
    "torque": 0.55,
    "force": 0.55,
    "position": 0.70,
    "humidity": 0.98,
    "concentration": 0.97,
    "count": 0.0,
    "state": 0.0,
}

# Kinds that are counted or commanded rather than measured: they carry neither noise nor anomalies.
EXACT_KINDS = frozenset({"count", "state"})

# Share of its range within which a signal with a physical zero is at rest: all but silent, without wear or faults.
REST = 0.004
