"""Ours: 525,600 rows x 10 signals with shifts, wear, failures, 24 labelled anomalies; CSV, Parquet, labels, events."""

from defectory.sensors.signals import Machine, Step


def main():
    m = Machine("Feed Pump Skid", year=2025, seed=7)
    m.stops(per_week=4, minutes=15)
    wear = m.maintenance("impeller and seals", every_hours=1200, minutes=300)
    m.failure("bearing", {"Vibration": 6, "Bearing_Temperature_DE": 4}, hours=72, count=2)
    recipe = m.recipe(Step("ramp", 6), Step("deliver", 90), Step("recirculate", 20), gap=4, products=3)
    load = m.lag(recipe.level(ramp=0.5, deliver=1.0, recirculate=0.35) * recipe.per_product(0.06), 3)
    heat = m.lag(load, 40, 80)
    air = m.ambient(22, 6, 2)
    m.signal("Flow", 120 * load, unit="m3/h", kind="flow", low=0, high=220, noise=0.8)
    m.signal("Discharge_Pressure", 6.5 * load * (1 - 0.08 * wear), unit="bar", kind="pressure", low=0, high=16)
    m.signal("Suction_Pressure", 1.4 - 0.3 * load, unit="bar", kind="pressure", low=0, high=4)
    m.signal("Motor_Current", 12 + 32 * load * (1 + 0.1 * wear), unit="A", kind="current", low=0, high=90)
    m.signal("Motor_Speed", 2960 * m.lag(recipe.running, 1), unit="rpm", kind="speed", low=0, high=3600)
    m.signal("Bearing_Temperature_DE", air + 34 * heat, unit="degC", kind="temperature", low=-20, high=140)
    m.signal("Bearing_Temperature_NDE", air + 30 * heat, unit="degC", kind="temperature", low=-20, high=140)
    m.signal("Vibration", load * (1.6 + 1.2 * wear), unit="mm/s", kind="vibration", low=0, high=25)
    m.signal("Winding_Temperature", air + 52 * heat, unit="degC", kind="temperature", low=-20, high=180)
    m.signal("Power", 22 * load, unit="kW", kind="power", low=0, high=60)
    m.anomalies(count=24)
    m.write(".")


main()
