"""Small charts as pictures, for what policies show of themselves in the logs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor


def bar_chart(values: Tensor, x: str, y: str) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 of ``values`` (n,) as bars numbered from 0."""
    figure, axes = _axes(x, y)
    axes.bar(range(len(values)), values.detach().float().cpu().tolist())
    return _drawn(figure)


def line_chart(at: Sequence[float], values: Sequence[Tensor], x: str, y: str) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 of scalar ``values`` against ``at``."""
    figure, axes = _axes(x, y)
    axes.plot(at, [value.item() for value in values], "o-")
    return _drawn(figure)


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4, 3), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.set_ylim(bottom=0)
    return figure, axes


def _drawn(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
