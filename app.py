"""The CDK app: ``cdk synth``, or ``CDK_OUTDIR=cdk.out python app.py``, which needs no cdk command."""

import os
import sys

from defectory.errors import DefectoryError, require_extra


def main() -> int:
    """Synthesise the application; a mistake is one line and the exit code of its kind."""
    try:
        require_extra("deploy")
        from stacks.application import create_app

        create_app(os.environ).synth()
    except DefectoryError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
