"""Signals: the vectorised building blocks from which a machine's year of sensor data is made.

One object, ``Machine``, holds a calendar year of minutes.  First say how the machine is operated (``shifts``,
``stops``, ``maintenance``, ``failure``), then what it makes (``recipe``, ``campaigns``, ``demand``), then add signals
as NumPy expressions of those, then anomalies, then ``write``.  The same seed gives the same bytes.

>>> m = Machine("Reflow Oven", year=2025, seed=7)
>>> m.shifts(per_day=2, days=5, start_hour=6)
>>> belt_wear = m.maintenance("belt change", every_hours=900, minutes=180)
>>> heat = m.lag(m.on * 240, minutes=18, falling=55)
>>> zone = 24 + heat + m.ambient(0, 4, 1.5)
>>> zone = m.signal("Zone_Temperature", zone, unit="degC", kind="temperature", low=0, high=300)
>>> m.anomalies(count=24)
>>> m.write(".")
"""

from defectory.sensors.signals.machine import Machine
from defectory.sensors.signals.recipe import Recipe, Step

__all__ = ["Machine", "Recipe", "Step"]
