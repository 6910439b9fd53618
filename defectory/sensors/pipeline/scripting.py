"""Scripting: have one machine's script written, look at it without running it, and have it corrected once."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from defectory.errors import DefectoryError
from defectory.sensors.authors import Author, Script, ScriptTask
from defectory.sensors.pipeline.artifacts import bounded
from defectory.sensors.policy import check_script

ASKED_AT_MOST = 2
AUTHORS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Writing:
    """A script that passed the static checks, or None and the reasons why there is none."""

    script: Script | None
    reasons: tuple[str, ...] = ()


def write_checked_script(
    author: Author, task: ScriptTask, script: Script | None = None, reasons: Sequence[str] = ()
) -> Writing:
    """Have a script written for ``task``, or ``script`` corrected that failed for ``reasons``.

    Where the answer breaks the policy or cannot be used, the author is asked once more, with what was wrong.
    Nothing is raised: whatever goes wrong with one machine is that machine's result.
    """
    outcome = faults = reasons
    for _ in range(ASKED_AT_MOST):
        try:
            script = author.repair_script(task, script, faults) if script else author.write_script(task)
            violations = check_script(script.source)
        except DefectoryError as error:
            outcome = [str(error), *faults]
            continue
        except Exception as error:
            traceback.print_exc()
            return Writing(None, bounded([f"Unexpected {type(error).__name__} while writing the script: {error}"]))
        if not violations:
            return Writing(script)
        outcome = faults = [str(violation) for violation in violations]
    return Writing(None, bounded(outcome))
