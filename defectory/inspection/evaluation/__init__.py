"""Evaluation: how good a model is on images it has not seen, as figures, files and a page."""

from defectory.inspection.evaluation.evaluate import Inspector, evaluate
from defectory.inspection.evaluation.report import write_report
from defectory.inspection.evaluation.results import Evaluation, read_evaluation

__all__ = ["Evaluation", "Inspector", "evaluate", "read_evaluation", "write_report"]
