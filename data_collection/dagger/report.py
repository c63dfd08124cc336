"""The report of a DAgger experiment: one self-contained HTML page, and ``summary.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from data_collection.dagger import page, plots
from data_collection.dagger.plots import Plot
from data_collection.dagger.records import RoundRecord, best_round
from data_collection.dagger.schema import DaggerConfig
from trainer.evaluation import Evaluation
from trainer.files import write_text_atomically


def write_report(
    folder: Path, config: DaggerConfig, teacher: Evaluation, records: Sequence[RoundRecord]
) -> None:
    """Write ``report.html`` and ``summary.json`` into the experiment's folder, atomically."""
    last, best = records[-1], best_round(records)
    summary = {
        "final_success_rate": last.evaluation.success_rate,
        "final_return": last.evaluation.mean_return,
        "best_round": best.round,
        "best_checkpoint": best.checkpoint,
        "teacher_success_rate": teacher.success_rate,
        "teacher_return": teacher.mean_return,
        "labels": sum(r.labels for r in records),
        "expert_queries": sum(r.expert_queries for r in records),
        "rounds": [asdict(record) for record in records],
    }
    write_text_atomically(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_text_atomically(folder / "report.html", _html(folder, config, teacher, records))


def headline(teacher: Evaluation, records: Sequence[RoundRecord]) -> str:
    """Return the result in one sentence: behaviour cloning, DAgger, the teacher."""
    success = _knows_success(teacher, records)
    first, last = (_result(records[i].evaluation, success) for i in (0, -1))
    dagger, rounds = "", records[-1].round
    if rounds:
        dagger = f" → DAgger {last} after {rounds} round{'s' if rounds > 1 else ''}"
    return f"Behaviour cloning {first}{dagger} (teacher {_result(teacher, success)})"


def _html(
    folder: Path, config: DaggerConfig, teacher: Evaluation, records: Sequence[RoundRecord]
) -> str:
    task = config.environment.params.get("task") or config.environment.params.get("id")
    success = _knows_success(teacher, records)
    parts = [
        page.key_figures(_totals(records)),
        page.heading("How well each round's student does"),
        page.plot_grid(list(_result_plots(config, teacher, records))),
        page.heading("What the rounds are made of"),
        page.plot_grid(_cost_plots(records)),
        page.heading("All rounds"),
        page.table(
            [_row(records[: i + 1], success) for i in range(len(records))],
            faint=[i for i, record in enumerate(records) if record.set_aside],
        ),
        page.heading("Filmed evaluations, the same seeds in every round"),
        *_videos(folder, records, success),
    ]
    return page.document(
        f"DAgger on {task or config.environment.type}",
        headline(teacher, records),
        _explanation(config, records, success),
        parts,
    )


def _knows_success(teacher: Evaluation, records: Sequence[RoundRecord]) -> bool:
    """Return whether anybody ever had success; some tasks have returns alone."""
    return any(e.success_rate > 0 for e in (teacher, *(r.evaluation for r in records)))


def _result(evaluation: Evaluation, success: bool) -> str:
    """Return the figure that tells most about the task."""
    if success:
        return f"{evaluation.success_rate:.2f}"
    value = evaluation.mean_return
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _explanation(config: DaggerConfig, records: Sequence[RoundRecord], success: bool) -> str:
    last = records[-1]
    best = best_round(records)
    figure = _result(best.evaluation, success)
    sentences = [
        f"The {'success rate' if success else 'return'} is measured on the same "
        f"{last.evaluation.episodes} seeds after every round. Round 0 is phase I: behaviour "
        "cloning on episodes that teachers drive. In later rounds the student drives and the "
        "teacher labels the states that it visits."
    ]
    if figure != _result(last.evaluation, success):
        sentences.append(f"The best round was {best.round}, with {figure}.")
    if any(r.set_aside for r in records):
        sentences.append(
            "A student that did worse was set aside: the one before it drives in its place."
        )
    if last.round < config.n_rounds:
        sentences.append(f"Written after round {last.round} of {config.n_rounds}: not the end.")
    return " ".join(sentences)


def _totals(records: Sequence[RoundRecord]) -> dict[str, str]:
    return {
        "labelled states": f"{sum(r.labels for r in records):,}",
        "expert queries": f"{sum(r.expert_queries for r in records):,}",
        "episodes": f"{sum(len(r.lengths) for r in records):,}",
        "gradient steps": f"{sum(r.gradient_steps for r in records):,}",
        "minutes": f"{sum(sum(r.seconds.values()) for r in records) / 60:,.1f}",
    }


def _result_plots(
    config: DaggerConfig, teacher: Evaluation, records: Sequence[RoundRecord]
) -> Iterator[Plot]:
    caution = ""
    if _knows_success(teacher, records):
        yield Plot(
            "Success rate",
            "With 95 % Wilson intervals; the grey band is the teacher's.",
            lambda axes: plots.draw_success(axes, teacher, records),
        )
        if config.evaluation.stop_on_success:
            caution = " Success ends an episode: a slow failure can collect more."
    yield Plot(
        "Return",
        f"Mean ± two standard errors; each dot is an episode.{caution}",
        lambda axes: plots.draw_returns(axes, teacher, records),
    )
    if any(r.label_error is not None for r in records):
        yield Plot(
            "Label error of the driver",
            "Root mean square of its action minus the teacher's, before it learns from the round. "
            "The gap between the lines is the drift that DAgger works against.",
            lambda axes: plots.draw_label_errors(axes, records),
        )
    yield Plot(
        "Episode lengths",
        "Of the evaluations, first round against last.",
        lambda axes: plots.draw_lengths(axes, teacher, records),
    )


def _cost_plots(records: Sequence[RoundRecord]) -> list[Plot]:
    return [
        Plot(
            "Labelled states",
            "All so far; the dark piece of each bar is the round's own.",
            lambda axes: plots.draw_growth(axes, records, [r.labels for r in records]),
        ),
        Plot(
            "Expert queries",
            "Actions that the expert was asked for so far; a label chunk asks for many.",
            lambda axes: plots.draw_growth(axes, records, [r.expert_queries for r in records]),
        ),
        Plot(
            "Who acted",
            "Shares of the recorded steps.",
            lambda axes: plots.draw_actors(axes, records),
        ),
        Plot(
            "Time",
            "Label chunks are a part of collecting; their bar adds up the seconds of all workers.",
            lambda axes: plots.draw_seconds(axes, records),
        ),
    ]


def _row(records: Sequence[RoundRecord], success: bool) -> dict[str, str]:
    """Return the last round's line of the table, by column."""
    r = records[-1]
    low, high = r.evaluation.success_interval
    rate = {"success": f"{r.evaluation.success_rate:.2f}", "95 %": f"{low:.2f}–{high:.2f}"}
    return {
        "round": f"{r.round}{' (set aside)' if r.set_aside else ''}",
        **(rate if success else {}),
        "return": f"{r.evaluation.mean_return:,.1f} ± {r.evaluation.std_return:,.1f}",
        "length": f"{r.evaluation.mean_length:.0f}",
        "episodes": f"{len(r.lengths):,}",
        "labels so far": f"{sum(earlier.labels for earlier in records):,}",
        "queries so far": f"{sum(earlier.expert_queries for earlier in records):,}",
        "label error": f"{r.label_error['student']:.3f}" if r.label_error else "–",
        "steps trained": f"{r.gradient_steps:,}",
        "minutes": f"{sum(r.seconds.values()) / 60:.1f}",
    }


def _videos(folder: Path, records: Sequence[RoundRecord], success: bool) -> Iterator[str]:
    for record in _filmed_rounds(records):
        who = "DAgger" if record.driver else "behaviour cloning"
        yield page.heading(f"Round {record.round}, {who}", 3)
        there = [folder / name for name in record.videos if (folder / name).exists()]
        yield page.video_grid([_video(path, success) for path in there])
    if not any(r.videos for r in records):
        yield "<p>None were made: see evaluation.video_every.</p>"


def _filmed_rounds(records: Sequence[RoundRecord]) -> list[RoundRecord]:
    """Return the first and last filmed rounds, and others if these lack a failure or a success."""
    filmed = [r for r in records if r.videos]
    chosen = {r.round: r for r in (*filmed[:1], *filmed[-1:])}
    for outcome in ("failure", "success"):
        having = [r for r in filmed if any(name.endswith(f"{outcome}.mp4") for name in r.videos)]
        if having and not any(r.round in chosen for r in having):
            chosen[having[-1].round] = having[-1]
    return [chosen[index] for index in sorted(chosen)]


def _video(path: Path, success: bool) -> page.Video:
    _, seed, outcome = path.stem.split("_")
    if not success:
        return page.Video(path.read_bytes(), f"seed {seed}", "")
    return page.Video(path.read_bytes(), f"{outcome}, seed {seed}", outcome)
