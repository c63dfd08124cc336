"""The report of a DAgger experiment: one self-contained HTML page, and ``summary.json``."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display

from matplotlib.figure import Figure

from data_collection.dagger.records import RoundRecord
from data_collection.dagger.schema import DaggerConfig
from trainer.evaluate import Evaluation
from trainer.files import write_text_atomically

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 }
td, th { padding: .25em .8em; text-align: right; border-bottom: 1px solid #ddd }
figure { display: inline-block; margin: .5em 1em .5em 0; vertical-align: top }
img { max-width: 520px } video { width: 260px }
.aside { color: #999 }
"""


def write_report(
    folder: Path, config: DaggerConfig, teacher: Evaluation, records: Sequence[RoundRecord]
) -> None:
    """Write ``report.html`` and ``summary.json`` into the experiment's folder, atomically."""
    last = records[-1]
    summary = {
        "final_success_rate": last.evaluation.success_rate,
        "final_return": last.evaluation.mean_return,
        "teacher_success_rate": teacher.success_rate,
        "teacher_return": teacher.mean_return,
        "labels": sum(r.labels for r in records),
        "expert_queries": sum(r.expert_queries for r in records),
        "rounds": [asdict(record) for record in records],
    }
    write_text_atomically(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    title = f"DAgger: {config.environment.params.get('task') or config.environment.type}"
    figures = [
        _picture("Success by round, 95 % interval", _success(teacher, records)),
        _picture("Return by round, ± one standard deviation", _returns(teacher, records)),
        _picture("Labelled states so far", _growth(records)),
        _picture("Who acted", _actors(records)),
        _picture("Episode lengths, last round", _lengths(last)),
        _picture("Seconds by step", _seconds(records)),
    ]
    page = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>{_STYLE}</style>
<h1>{html.escape(title)}</h1>
<p>Teacher: {html.escape(str(teacher))}. Round 0 is phase I: behaviour cloning on episodes that
teachers drive. In later rounds the student drives and the teacher labels what it visits.</p>
{_table(records)}
{"".join(figures)}
<h2>Episodes of the last evaluations</h2>
{_videos(folder, records)}
</html>
"""
    write_text_atomically(folder / "report.html", page)


def _table(records: Sequence[RoundRecord]) -> str:
    heads = ("round", "episodes", "labels", "success", "95 %", "return", "steps trained", "minutes")
    rows = []
    labels = 0
    for r in records:
        labels += r.labels
        low, high = r.evaluation.success_interval
        cells = (
            f"{r.round}{' (set aside)' if r.set_aside else ''}",
            len(r.lengths),
            f"{labels:,}",
            f"{r.evaluation.success_rate:.2f}",
            f"{low:.2f}–{high:.2f}",
            f"{r.evaluation.mean_return:,.1f}",
            f"{r.gradient_steps:,}",
            f"{sum(r.seconds.values()) / 60:.1f}",
        )
        style = ' class="aside"' if r.set_aside else ""
        rows.append(f"<tr{style}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _figure() -> Figure:
    return Figure(figsize=(5.2, 3.2), layout="constrained")


def _success(teacher: Evaluation, records: Sequence[RoundRecord]) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    rates = [r.evaluation.success_rate for r in records]
    below = [
        max(0.0, r.evaluation.success_rate - r.evaluation.success_interval[0]) for r in records
    ]
    above = [
        max(0.0, r.evaluation.success_interval[1] - r.evaluation.success_rate) for r in records
    ]
    axes.errorbar([r.round for r in records], rates, yerr=[below, above], marker="o", capsize=4)
    axes.axhline(teacher.success_rate, linestyle="--", color="grey", label="teacher")
    axes.axhline(rates[0], linestyle=":", color="tab:red", label="behaviour cloning (round 0)")
    axes.set(xlabel="round", ylabel="success rate", ylim=(-0.02, 1.05))
    axes.legend()
    return figure


def _returns(teacher: Evaluation, records: Sequence[RoundRecord]) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    axes.errorbar(
        [r.round for r in records],
        [r.evaluation.mean_return for r in records],
        yerr=[r.evaluation.std_return for r in records],
        marker="o",
        capsize=4,
    )
    axes.axhline(teacher.mean_return, linestyle="--", color="grey", label="teacher")
    axes.set(xlabel="round", ylabel="return")
    axes.legend()
    return figure


def _growth(records: Sequence[RoundRecord]) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    total = 0
    for r in records:
        axes.bar(r.round, r.frames, bottom=total, color="tab:blue" if r.driver else "tab:grey")
        total += r.frames
    axes.set(xlabel="round", ylabel="labelled states (grey: phase I)")
    return figure


def _actors(records: Sequence[RoundRecord]) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    names = sorted({actor for r in records for actor in r.actors})
    bottom = [0.0] * len(records)
    for name in names:
        shares = [r.actors.get(name, 0.0) for r in records]
        axes.bar([r.round for r in records], shares, bottom=bottom, label=name)
        bottom = [b + s for b, s in zip(bottom, shares, strict=True)]
    axes.set(xlabel="round", ylabel="share of the steps")
    axes.legend()
    return figure


def _lengths(record: RoundRecord) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    axes.hist(record.lengths, bins=30)
    axes.set(xlabel="steps", ylabel="episodes")
    return figure


def _seconds(records: Sequence[RoundRecord]) -> Figure:
    figure = _figure()
    axes = figure.subplots()
    bottom = [0.0] * len(records)
    for name in ("collect", "train", "evaluate"):
        seconds = [r.seconds.get(name, 0.0) for r in records]
        axes.bar([r.round for r in records], seconds, bottom=bottom, label=name)
        bottom = [b + s for b, s in zip(bottom, seconds, strict=True)]
    axes.set(xlabel="round", ylabel="seconds")
    axes.legend()
    return figure


def _picture(caption: str, figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _videos(folder: Path, records: Sequence[RoundRecord]) -> str:
    filmed = [r for r in records if r.videos]
    if not filmed:
        return "<p>No videos were made (evaluation.video_every).</p>"
    clips = []
    for record in {filmed[0].round: filmed[0], filmed[-1].round: filmed[-1]}.values():
        for name in record.videos:
            data = base64.b64encode((folder / name).read_bytes()).decode()
            outcome = Path(name).stem.rsplit("_", 1)[-1]
            clips.append(
                f'<figure><video controls muted src="data:video/mp4;base64,{data}"></video>'
                f"<figcaption>round {record.round}: {outcome}</figcaption></figure>"
            )
    return "".join(clips)
