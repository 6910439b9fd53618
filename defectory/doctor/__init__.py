"""What would fail of a deployment into an AWS account, found by asking the account before anything is paid for."""

from defectory.doctor.examination import examine, named_resources
from defectory.doctor.findings import Finding

__all__ = ["Finding", "examine", "named_resources"]
