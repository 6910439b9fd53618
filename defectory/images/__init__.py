"""Defect images: made from photos of good parts, with masks, and kept only where they help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from defectory.lazy import load_lazily

if TYPE_CHECKING:
    from defectory.images.balancing import balance as balance
    from defectory.images.gate import run_gate as run_gate
    from defectory.images.plan import plan_balance as plan_balance
    from defectory.images.renderers import RenderRequest as RenderRequest
    from defectory.images.renderers.procedural import ProceduralRenderer as ProceduralRenderer
    from defectory.images.renderers.transplant import TransplantRenderer as TransplantRenderer
    from defectory.images.synthesis import synthesize as synthesize

__getattr__, __dir__, __all__ = load_lazily(
    __name__,
    {
        "defectory.images.renderers": ("RenderRequest",),
        "defectory.images.renderers.procedural": ("ProceduralRenderer",),
        "defectory.images.renderers.transplant": ("TransplantRenderer",),
        "defectory.images.plan": ("plan_balance",),
        "defectory.images.balancing": ("balance",),
        "defectory.images.gate": ("run_gate",),
        "defectory.images.synthesis": ("synthesize",),
    },
)
