"""Plotly figures as plain dictionaries, small enough to stand in a page: envelopes, zooms, a correlation matrix.

Figures are built by hand because importing ``plotly.graph_objects`` takes longer than writing a whole report.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Figure = dict[str, Any]

LINE, ENVELOPE, MARK, OTHER = "#2563eb", "rgba(37,99,235,0.35)", "#dc2626", "#64748b"
MINUTE_MS = 60_000
ROW_PX = 96


def packed(values: Array) -> dict[str, str]:
    """Numbers as plotly.js reads them: single precision, base64; a third of the size of text."""
    return {"dtype": "f4", "bdata": base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")}


def envelope(values: Array, minutes: int) -> tuple[Array, Array]:
    """Lowest and highest value of each bucket of ``minutes``, so that no spike is lost; shape ``(buckets,)`` each."""
    starts = np.arange(0, values.size, minutes)
    return np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)


def band(values: Array, start: str, minutes: int, axis: int) -> list[Figure]:
    """Two traces whose filled gap is the envelope of ``values``."""
    low, high = envelope(values, minutes)
    common = {
        "type": "scatter", "mode": "lines", "x0": start, "dx": minutes * MINUTE_MS, "showlegend": False,
        "xaxis": "x", "yaxis": _axis("y", axis), "line": {"color": LINE, "width": 0.8},
    }  # fmt: skip
    return [
        {**common, "y": packed(low), "hovertemplate": "%{x|%b %d %H:%M}: at least %{y}<extra></extra>"},
        {
            **common,
            "y": packed(high),
            "fill": "tonexty",
            "fillcolor": ENVELOPE,
            "hovertemplate": "%{x|%b %d %H:%M}: at most %{y}<extra></extra>",
        },
    ]


def stacked(
    columns: Mapping[str, Array],
    units: Mapping[str, str],
    start: str,
    minutes: int,
    marks: Mapping[str, Sequence[tuple[str, str, str]]],
    pauses: Sequence[tuple[str, str, str]] = (),
) -> Figure:
    """One row a signal over a shared time axis.

    Args:
        columns: signal -> values at one-minute steps from ``start``.
        minutes: width of the buckets; 1 draws every value.
        marks: signal -> labelled spans (start, end, text).
        pauses: spans of events, drawn behind all rows.
    """
    count = len(columns)
    gap = 0.16 / count
    height = (1.0 - gap * (count - 1)) / count
    traces: list[Figure] = []
    layout: Figure = {
        "height": ROW_PX * count + 60,
        "margin": {"l": 62, "r": 12, "t": 22, "b": 34},
        "hovermode": "closest",
        "xaxis": {"anchor": _axis("y", count - 1), "type": "date"},
        "annotations": [],
    }
    shapes: list[Figure] = [
        {**_span("paper", 0, 1, begin, end, OTHER, 0.25), "line": {"width": 1, "color": OTHER}}
        for begin, end, _ in pauses
    ]
    for row, (name, values) in enumerate(columns.items()):
        top = 1.0 - row * (height + gap)
        layout[_axis("yaxis", row)] = {"domain": [max(0.0, top - height), top], "nticks": 4, "zeroline": False}
        layout["annotations"].append(
            {
                "text": _safe(f"{name} [{units[name]}]"), "x": 0.003, "xref": "paper", "xanchor": "left", "y": top,
                "yref": "paper", "yanchor": "bottom", "showarrow": False, "font": {"size": 11},
            }
        )  # fmt: skip
        traces += band(values, start, minutes, row) if minutes > 1 else [_line(name, values, start, row)]
        reference = _axis("y", row) + " domain"
        shapes += [_span(reference, 0, 1, begin, end, MARK, 0.3) for begin, end, _ in marks.get(name, ())]
        if minutes > 60 and marks.get(name):
            # A few minutes are thinner than a pixel of a year: mark where they are.
            traces.append(_pins(marks[name], float(values.max()), row))
    layout["shapes"] = shapes
    return {"data": traces, "layout": layout}


def zoom(
    name: str, values: Array, other: str, other_values: Array, start: str, begin: str, end: str, title: tuple[str, str]
) -> Figure:
    """Raw minutes of a signal around one label, with the signal it moves with most below; two lines of title."""
    layout = {
        "height": 260,
        "margin": {"l": 44, "r": 12, "t": 44, "b": 34},
        "title": {"text": f"<b>{_safe(title[0])}</b><br>{_safe(title[1])}", "font": {"size": 12}, "x": 0.02, "y": 0.95},
        "xaxis": {"type": "date", "anchor": "y2", "nticks": 5, "tickangle": 0},
        "yaxis": {"domain": [0.46, 1.0], "nticks": 5},
        "yaxis2": {"domain": [0.0, 0.32], "nticks": 3},
        "annotations": [
            {
                "text": _safe(other),
                "x": 0,
                "xref": "paper",
                "xanchor": "left",
                "y": 0.33,
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 10, "color": OTHER},
            }
        ],
        "shapes": [_span("paper", 0.46, 1, begin, end, MARK, 0.2)],
    }
    below = {**_line(other, other_values, start, 1), "line": {"color": OTHER, "width": 1}}
    return {"data": [_line(name, values, start, 0), below], "layout": layout}


def heatmap(names: Sequence[str], matrix: Array) -> Figure:
    """Correlation matrix from -1 (red) over 0 (white) to 1 (blue)."""
    side = 150 + 34 * len(names)
    labels = [_safe(name) for name in names]
    rounded = [[round(float(value), 2) for value in row] for row in matrix]
    return {
        "data": [
            {
                "type": "heatmap", "x": labels, "y": labels, "z": rounded, "zmin": -1, "zmax": 1, "colorscale": "RdBu",
                "text": [[f"{value:.2f}" for value in row] for row in rounded], "texttemplate": "%{text}",
                "textfont": {"size": 9}, "hovertemplate": "%{y} / %{x}: %{z}<extra></extra>", "showscale": False,
            }
        ],
        "layout": {
            "height": side, "width": side + 120, "margin": {"l": 170, "r": 10, "t": 10, "b": 150},
            "yaxis": {"autorange": "reversed", "tickfont": {"size": 10}},
            "xaxis": {"tickangle": 55, "tickfont": {"size": 10}},
        },
    }  # fmt: skip


def sparkline(values: Array, width: int = 220, height: int = 34) -> str:
    """SVG path of the envelope of ``values``, drawn forth along the top and back along the bottom."""
    low, high = envelope(values, max(1, values.size // width))
    span = float(high.max() - low.min()) or 1.0
    x = np.linspace(0, width, low.size)
    top = height - (high - low.min()) / span * height
    bottom = height - (low - low.min()) / span * height
    points = [*zip(x, top, strict=True), *zip(x[::-1], bottom[::-1] + 0.5, strict=True)]
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points) + "Z"


def _axis(kind: str, row: int) -> str:
    return kind if row == 0 else f"{kind}{row + 1}"


def _line(name: str, values: Array, start: str, row: int) -> Figure:
    return {
        "type": "scatter", "mode": "lines", "x0": start, "dx": MINUTE_MS, "y": packed(values), "name": _safe(name),
        "showlegend": False, "xaxis": "x", "yaxis": _axis("y", row), "line": {"color": LINE, "width": 1},
        "hovertemplate": "%{x|%b %d %H:%M}: %{y}<extra></extra>",
    }  # fmt: skip


def _pins(marks: Sequence[tuple[str, str, str]], height: float, row: int) -> Figure:
    return {
        "type": "scatter", "mode": "markers", "x": [begin for begin, _, _ in marks], "y": [height] * len(marks),
        "text": [_safe(text) for _, _, text in marks], "hovertemplate": "%{text}<br>%{x|%b %d %H:%M}<extra></extra>",
        "marker": {"symbol": "triangle-down", "size": 9, "color": MARK}, "cliponaxis": False, "showlegend": False,
        "xaxis": "x", "yaxis": _axis("y", row),
    }  # fmt: skip


def _span(reference: str, low: float, high: float, begin: str, end: str, colour: str, opacity: float) -> Figure:
    return {
        "type": "rect", "xref": "x", "yref": reference, "x0": begin, "x1": end, "y0": low, "y1": high,
        "fillcolor": colour, "opacity": opacity, "line": {"width": 0}, "layer": "below",
    }  # fmt: skip


def _safe(text: str) -> str:
    """Plotly reads a little markup in texts: leave none."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
