"""Report pages: one self-contained page for a dataset, and the index page of a request.

Both work offline: plotly.js is embedded, nothing is fetched.  Everything that came from a user or a model is escaped.
"""

from defectory.sensors.report.dataset_page import write_report
from defectory.sensors.report.index_page import INDEX, write_index

__all__ = ["INDEX", "write_index", "write_report"]
