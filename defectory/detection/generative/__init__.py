"""Generative renderers: models that paint layouts, and the check that every object they were asked for has to pass."""
