"""Evaluation: how good a detector is on labelled images it has not seen, as figures, files and a page."""
