"""Peer: how a good model writes it, vectorised NumPy and pandas; 10 signals, anomalies, labels, CSV and Parquet."""

import numpy as np
import pandas as pd


class PumpDataGenerator:
    def __init__(self, year=2025, seed=7):
        self.rng = np.random.default_rng(seed)
        self.index = pd.date_range(f"{year}-01-01", f"{year}-12-31 23:59", freq="min")

    def ar1(self, size, phi, sigma):
        noise = pd.Series(self.rng.normal(0, sigma, size))
        return noise.ewm(alpha=1 - phi, adjust=False).mean().to_numpy()

    def generate(self):
        n = len(self.index)
        minute = self.index.hour * 60 + self.index.minute
        weekend = np.where(self.index.dayofweek >= 5, 0.5, 1.0)
        load = weekend * np.where((minute >= 360) & (minute < 1320), 1.0, 0.7)
        load = pd.Series(load).ewm(alpha=0.1, adjust=False).mean().to_numpy()
        ambient = (
            20 + 8 * np.sin(2 * np.pi * (self.index.dayofyear - 110) / 365) + 3 * np.sin(2 * np.pi * minute / 1440)
        )
        data = pd.DataFrame({"Timestamp": self.index})
        specs = {
            "Flow_Rate": (0, 120, 1.5), "Discharge_Pressure": (0.5, 6, 0.05), "Suction_Pressure": (1.4, -0.3, 0.02),
            "Motor_Current": (10, 32, 0.6), "Motor_Speed": (2970, -20, 4), "Vibration": (0.4, 1.7, 0.12),
            "Power": (2, 20, 0.3),
        }  # fmt: skip
        for name, (base, gain, sigma) in specs.items():
            data[name] = base + gain * load + self.ar1(n, 0.7, sigma)
        for name, gain in {"Bearing_DE": 34, "Bearing_NDE": 30, "Winding": 52}.items():
            heat = pd.Series(gain * load).ewm(alpha=0.02, adjust=False).mean().to_numpy()
            data[name + "_Temperature"] = ambient + heat + self.ar1(n, 0.95, 0.4)
        labels = []
        columns = list(data.columns[1:])
        for _ in range(24):
            start, length = int(self.rng.integers(0, n - 600)), int(self.rng.integers(5, 600))
            column = columns[int(self.rng.integers(len(columns)))]
            data.loc[start : start + length, column] += 6 * data[column].std() * self.rng.choice([-1, 1])
            labels.append((self.index[start], self.index[start + length], column, "level_shift", 6.0))
        return data.round(3), pd.DataFrame(labels, columns=["start", "end", "signal", "kind", "severity"])


def main():
    data, labels = PumpDataGenerator().generate()
    data.to_parquet("data.parquet", index=False)
    data["Timestamp"] = data["Timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S")
    data.to_csv("data.csv", index=False)
    labels.to_csv("labels.csv", index=False)


main()
