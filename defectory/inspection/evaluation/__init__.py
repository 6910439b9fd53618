"""Evaluation: how good a model is on images it has not seen, as figures, files and a page."""
