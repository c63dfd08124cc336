"""The plots of a DAgger experiment's report: behaviour cloning against the rounds after it."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from data_collection.dagger.records import RoundRecord
from trainer.evaluation import Evaluation

_TEACHER, _CLONING, _DAGGER, _OTHER = "#8a8f98", "#d97706", "#2563eb", "#c4b5fd"
_ACTOR_COLOURS = {"expert": _TEACHER, "student": _DAGGER, "other": _OTHER}
_STEP_COLOURS = {"collect": "#2563eb", "train": "#0f9d77", "evaluate": "#8a8f98"}


@dataclass(frozen=True)
class Plot:
    """A plot, what it shows in a few words, and how to read it."""

    title: str
    caption: str
    draw: Callable[[Axes], None]

    def to_svg(self) -> bytes:
        """Return the plot as an SVG file that needs no fonts."""
        look = matplotlib.rc_context(
            {
                "axes.edgecolor": "#9aa0a8",
                "axes.grid": True,
                "axes.axisbelow": True,
                "axes.spines.right": False,
                "axes.spines.top": False,
                "font.size": 9.5,
                "grid.color": "#e8eaed",
                "legend.fontsize": 8.5,
                "legend.frameon": False,
                "svg.hashsalt": "report",  # with no date, the same figures give the same file
            }
        )
        file = io.BytesIO()
        with look:
            figure = Figure(figsize=(5.2, 3.0), layout="constrained")
            self.draw(figure.subplots())
            figure.savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()


def draw_success(axes: Axes, teacher: Evaluation, records: Sequence[RoundRecord]) -> None:
    """Draw each round's success rate, and the teacher's, with their intervals."""
    axes.axhspan(*teacher.success_interval, color=_TEACHER, alpha=0.12, linewidth=0)
    axes.axhline(teacher.success_rate, color=_TEACHER, linestyle="--", label="teacher")
    rates = [r.evaluation.success_rate for r in records]
    _against_cloning(axes, records, rates, [r.evaluation.success_interval for r in records])
    axes.set(ylabel="success rate", ylim=(-0.02, 1.04))


def draw_returns(axes: Axes, teacher: Evaluation, records: Sequence[RoundRecord]) -> None:
    """Draw each round's returns, their mean with two standard errors, and the teacher's mean."""
    axes.axhline(teacher.mean_return, color=_TEACHER, linestyle="--", label="teacher")
    for r in records:
        returns = r.evaluation.returns
        colour = _DAGGER if r.driver else _CLONING
        axes.plot([r.round] * len(returns), returns, ".", color=colour, alpha=0.4, markersize=4)
    means = [r.evaluation.mean_return for r in records]
    errors = [2 * r.evaluation.std_return / r.evaluation.episodes**0.5 for r in records]
    intervals = [(mean - error, mean + error) for mean, error in zip(means, errors, strict=True)]
    _against_cloning(axes, records, means, intervals)
    axes.set(ylabel="return")


def _against_cloning(
    axes: Axes,
    records: Sequence[RoundRecord],
    values: Sequence[float],
    intervals: Sequence[tuple[float, float]],
) -> None:
    """Draw the rounds' values with their intervals, and where behaviour cloning stood."""
    rounds = [r.round for r in records]
    low, high = np.transpose(intervals)
    # A rate of 0 or 1 may lie outside its interval by a rounding error.
    spread = np.maximum(0.0, [values - low, high - values])
    axes.axhline(values[0], color=_CLONING, linestyle=":", linewidth=1)
    axes.plot(rounds, values, color=_DAGGER, linewidth=1)
    for label, colour, part in (
        ("behaviour cloning", _CLONING, slice(0, 1)),
        ("DAgger", _DAGGER, slice(1, None)),
    ):
        points = axes.errorbar(
            rounds[part], values[part], spread[:, part], fmt="o", color=colour, capsize=4
        )
        if rounds[part]:
            points.set_label(label)
    _mark_rounds(axes, rounds)
    axes.legend()


def draw_label_errors(axes: Axes, records: Sequence[RoundRecord]) -> None:
    """Draw how far the driver was from the labels, where it drove and in phase I."""
    measured = [(r.round, r.label_error) for r in records if r.label_error is not None]
    rounds = [index for index, _ in measured]
    for name, colour, label in (
        ("student", _DAGGER, "on the states that it visits"),
        ("teacher", _TEACHER, "on the states of phase I"),
    ):
        errors = [error[name] for _, error in measured]
        axes.plot(rounds, errors, marker="o", color=colour, label=label)
    axes.set(ylabel="error, action units")
    axes.set_ylim(bottom=0)
    _mark_rounds(axes, rounds)
    axes.legend()


def draw_lengths(axes: Axes, teacher: Evaluation, records: Sequence[RoundRecord]) -> None:
    """Draw histograms of the evaluations' lengths: the teacher's, the first and last round's."""
    groups = [
        (teacher.lengths, "teacher", _TEACHER),
        (records[0].evaluation.lengths, "behaviour cloning", _CLONING),
    ]
    if len(records) > 1:
        last = records[-1]
        groups.append((last.evaluation.lengths, f"DAgger, round {last.round}", _DAGGER))
    bins = np.histogram_bin_edges([n for lengths, _, _ in groups for n in lengths], bins=20)
    for lengths, label, colour in groups:
        if colour != _TEACHER:
            axes.hist(lengths, bins.tolist(), histtype="stepfilled", color=colour, alpha=0.3)
        axes.hist(lengths, bins.tolist(), histtype="step", color=colour, label=label)
    axes.set(xlabel="steps", ylabel="episodes")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def draw_growth(axes: Axes, records: Sequence[RoundRecord], amounts: Sequence[int]) -> None:
    """Draw what has been gathered up to each round, the round's own amount on top."""
    rounds = [r.round for r in records]
    colours = [_DAGGER if r.driver else _CLONING for r in records]
    before = np.cumsum([0, *amounts[:-1]])
    axes.bar(rounds, before, color="#d5dcea")
    axes.bar(rounds, amounts, bottom=before, color=colours)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _mark_rounds(axes, rounds)


def draw_actors(axes: Axes, records: Sequence[RoundRecord]) -> None:
    """Draw each actor's share of the rounds' steps."""
    bottom = np.zeros(len(records))
    for name, colour in _ACTOR_COLOURS.items():
        shares = np.array([r.actors.get(name, 0.0) for r in records])
        if shares.any():
            axes.bar([r.round for r in records], shares, bottom=bottom, color=colour, label=name)
            bottom += shares
    axes.set(ylabel="share of the steps", ylim=(0, 1.25))
    axes.set_yticks([0, 0.5, 1])
    _mark_rounds(axes, [r.round for r in records])
    axes.legend(ncols=3, loc="upper left")


def draw_seconds(axes: Axes, records: Sequence[RoundRecord]) -> None:
    """Draw how long the steps of each round took."""
    rounds = [r.round for r in records]
    bottom = np.zeros(len(records))
    for name, colour in _STEP_COLOURS.items():
        seconds = np.array([r.seconds.get(name, 0.0) for r in records])
        axes.bar(np.subtract(rounds, 0.14), seconds, 0.5, bottom=bottom, color=colour, label=name)
        bottom += seconds
    labelling = [r.labelling_seconds for r in records]
    if any(labelling):
        beside = np.add(rounds, 0.26)
        axes.bar(beside, labelling, 0.2, color="#93b4f5", label="label chunks (all workers)")
    axes.set(ylabel="seconds")
    axes.set_ylim(top=1.3 * max(*bottom, *labelling))
    _mark_rounds(axes, rounds)
    axes.legend(ncols=4, loc="upper left", columnspacing=1.0, handlelength=1.2)


def _mark_rounds(axes: Axes, rounds: Sequence[int]) -> None:
    axes.set(xlabel="round", xlim=(rounds[0] - 0.6, rounds[-1] + 0.6))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
