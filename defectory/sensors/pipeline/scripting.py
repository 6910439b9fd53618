"""Scripting: have one machine's script written, look at it without running it, and have it corrected once."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from defectory.errors import DefectoryError
from defectory.sensors.authors import Author, Script, ScriptTask
from defectory.sensors.pipeline.artifacts import bounded
from defectory.sensors.policy import check_script

SCRIPTS_AT_MOST = 2


@dataclass(frozen=True, slots=True)
class Writing:
    """A script that passed the static checks, or None and the reasons why there is none."""

    script: Script | None
    reasons: tuple[str, ...] = ()


def write_checked_script(
    author: Author, task: ScriptTask, script: Script | None = None, reasons: Sequence[str] = ()
) -> Writing:
    """Have a script written for ``task``, or ``script`` corrected that failed for ``reasons``.

    A script that breaks the policy goes back to the author once, with what is wrong.  An author that cannot answer is
    not pressed here: it has tried again by itself.  Nothing is raised: whatever goes wrong with one machine is that
    machine's result.
    """
    for _ in range(SCRIPTS_AT_MOST):
        try:
            script = author.repair_script(task, script, reasons) if script else author.write_script(task)
            violations = check_script(script.source)
        except DefectoryError as error:
            return Writing(None, bounded([str(error), *reasons]))
        except Exception as error:
            traceback.print_exc()
            return Writing(None, bounded([f"Unexpected {type(error).__name__} while writing the script: {error}"]))
        if not violations:
            return Writing(script)
        reasons = [str(violation) for violation in violations]
    return Writing(None, bounded(reasons))
