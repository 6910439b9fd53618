"""Peer: how small models write it, one Python loop over the rows with ``random`` and ``csv``."""

import csv
import math
import random
from datetime import datetime, timedelta


class PumpSensor:
    def __init__(self, name, base, amplitude, noise):
        self.name, self.base, self.amplitude, self.noise = name, base, amplitude, noise

    def read(self, moment, load):
        daily = math.sin(2 * math.pi * (moment.hour * 60 + moment.minute) / 1440)
        return self.base + self.amplitude * (0.6 * load + 0.4 * daily) + random.gauss(0, self.noise)


class PumpDataGenerator:
    def __init__(self):
        self.sensors = [PumpSensor(f"Signal_{i}", 10.0 * (i + 1), 2.0 + i, 0.1 * (i + 1)) for i in range(10)]

    def rows(self):
        moment = datetime(2025, 1, 1)
        while moment.year == 2025:
            load = 1.0 if 6 <= moment.hour < 22 and moment.weekday() < 5 else 0.6
            row = [moment.strftime("%Y-%m-%d %H:%M:%S")]
            for sensor in self.sensors:
                value = sensor.read(moment, load)
                if random.random() < 0.00005:
                    value *= 1.5
                row.append(round(value, 3))
            yield row
            moment += timedelta(minutes=1)


def main():
    random.seed(7)
    generator = PumpDataGenerator()
    with open("data.csv", "w", newline="") as file:  # noqa: PTH123 - as such scripts write it
        writer = csv.writer(file)
        writer.writerow(["Timestamp", *(sensor.name for sensor in generator.sensors)])
        writer.writerows(generator.rows())


main()
