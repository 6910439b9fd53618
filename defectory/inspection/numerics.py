"""What keeps a bundle's numbers the same, whoever asks and on whichever machine, and how far they may lie apart.

BLAS adds the parts of a product in another order for each number of threads, and that number depends on the machine,
on the environment (``OMP_NUM_THREADS``) and on what else the process has set.  So scores are computed on one thread;
the products are small, and threads would wait for each other longer than they work.  onnxruntime is told when its
session is made (`Backbone`); what OpenCV does here is the same for any number of threads.

What is left is the kind of processor: other instructions round and add differently.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

SCORE_TOLERANCE = 1e-4
"""How far the scores of one image may lie apart on two kinds of processors, in multiples of the larger of the score and
the FAIL threshold.

PatchCore's distance is one minus a cosine: float32 knows the cosine to 6e-8, and a distance can be as small as 0.01.
Between the instruction sets of OpenBLAS (Prescott to SkylakeX) up to 2e-5 was measured, at a score of 0.01.
"""

SMALLEST_SCALE = 0.01
"""The smallest scale of confidence, in multiples of the FAIL threshold: finer differences of scores say nothing, and
confidence would magnify what `SCORE_TOLERANCE` leaves open.
"""

CONFIDENCE_TOLERANCE = SCORE_TOLERANCE / SMALLEST_SCALE / 4
"""How far confidences may lie apart near the threshold: the logistic curve rises by 1/4 a scale at most."""

_lock = threading.Lock()
_callers = 0
_shared_before: list[tuple[Any, int]] = []
# The modules that were there, and what `_libraries` gave then.
_loaded: tuple[frozenset[str], list[Any], list[Any]] | None = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit the BLAS and OpenMP libraries to one thread while the calling thread is inside.

    OpenMP keeps a limit for each calling thread, other libraries one for the process: that one is lifted by the last
    who leaves, so that nobody lifts it while another still scores.  A library that is loaded inside is not limited, so
    import first what the work needs.
    """
    global _callers, _shared_before
    own, shared = _libraries()
    own_before = [(library, library.get_num_threads()) for library in own]
    with _lock:
        if not _callers:
            _shared_before = [(library, library.get_num_threads()) for library in shared]
        _callers += 1
        _set_threads([(library, 1) for library in (*own, *shared)])
    try:
        yield
    finally:
        with _lock:
            _callers -= 1
            _set_threads(own_before if _callers else [*own_before, *_shared_before])


def _libraries() -> tuple[list[Any], list[Any]]:
    """Controllers of the loaded libraries that keep a limit for each thread, and of those that keep one for all."""
    global _loaded
    # Looking for them takes as long as preparing a photo; they come with modules.
    modules = frozenset(sys.modules)
    loaded = _loaded
    if loaded is None or loaded[0] != modules:
        loaded = _loaded = (modules, *_find_libraries())
    return loaded[1:]


def _find_libraries() -> tuple[list[Any], list[Any]]:
    from threadpoolctl import ThreadpoolController

    own: list[Any] = []
    shared: list[Any] = []
    for library in ThreadpoolController().lib_controllers:
        by_thread = library.user_api == "openmp" or getattr(library, "threading_layer", "") == "openmp"
        (own if by_thread else shared).append(library)
    return own, shared


def _set_threads(counts: Sequence[tuple[Any, int]]) -> None:
    from threadpoolctl import OpenBLASController

    # threadpoolctl lets but one thread change OpenBLAS, the first; here it may be another that leaves last.
    OpenBLASController.clear_controlling_thread(force=True)
    for library, count in counts:
        library.set_num_threads(count)
    OpenBLASController.clear_controlling_thread(force=True)
