"""Defectory: a factory of defects for people who build inspection and monitoring for manufacturing."""

__version__ = "0.1.0"
