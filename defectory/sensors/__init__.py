"""Sensor data: from an industry's name to a year of labelled data per machine.

Kept free of imports on purpose: generated scripts import ``defectory.sensors.signals`` inside the sandbox, and every
module imported on the way there costs each of them start-up time.
"""
