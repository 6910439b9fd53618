"""Run a generated script where it can reach nothing but its own folder, and take from it nothing but regular files.

```
runner.py      run_script: lint, choose layers, run, accept the output
layers.py      which protections this machine offers, and which a script needs
process.py     start the child, watch its limits, end it
output.py      accept regular files only
users.py       an unprivileged user id for one run
child.py       the child's first steps: put every layer on itself, then become the script
landlock.py  seccomp.py  namespaces.py  kernel.py     the layers, straight from the kernel
limits.py      Limits and RunResult
```
"""

from defectory.sensors.sandbox.layers import detect_layers
from defectory.sensors.sandbox.limits import Limits, RunResult
from defectory.sensors.sandbox.runner import run_script

__all__ = ["Limits", "RunResult", "detect_layers", "run_script"]
