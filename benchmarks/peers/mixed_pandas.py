"""Peer: how models often write it, vectorised bases with per-row state loops for lag and noise, then pandas."""

import numpy as np
import pandas as pd


class PumpDataGenerator:
    NAMES = (
        "Flow",
        "Pressure",
        "Suction",
        "Current",
        "Speed",
        "Bearing_DE",
        "Bearing_NDE",
        "Vibration",
        "Winding",
        "Power",
    )

    def __init__(self, year=2025, seed=7):
        self.rng = np.random.default_rng(seed)
        self.index = pd.date_range(f"{year}-01-01", f"{year}-12-31 23:59", freq="min")

    def smooth(self, target, noise, tau):
        out, value = [], float(target[0])
        for setpoint, disturbance in zip(target, noise, strict=True):
            value += (setpoint - value) / tau + disturbance
            out.append(value)
        return out

    def generate(self):
        n = len(self.index)
        load = np.where(self.index.dayofweek >= 5, 0.5, 1.0) * np.where(self.index.hour.isin(range(6, 22)), 1.0, 0.7)
        data = pd.DataFrame({"Timestamp": self.index})
        for number, name in enumerate(self.NAMES):
            target = 10 * (number + 1) * (0.3 + load)
            data[name] = np.round(self.smooth(target, self.rng.normal(0, 0.05 * (number + 1), n), 5 + 6 * number), 3)
        labels = []
        for _ in range(24):
            start, length = int(self.rng.integers(0, n - 600)), int(self.rng.integers(5, 600))
            name = self.NAMES[int(self.rng.integers(len(self.NAMES)))]
            data.loc[start : start + length, name] *= 1.4
            labels.append((self.index[start], self.index[start + length], name, "level_shift", 1.4))
        return data, pd.DataFrame(labels, columns=["start", "end", "signal", "kind", "severity"])


def main():
    data, labels = PumpDataGenerator().generate()
    data.to_parquet("data.parquet", index=False)
    data.to_csv("data.csv", index=False, date_format="%Y-%m-%d %H:%M:%S")
    labels.to_csv("labels.csv", index=False)


main()
