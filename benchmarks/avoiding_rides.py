"""Rollouts of Avoiding from one start state: played, scored, drawn.

python benchmarks/avoiding_rides.py RUN ROLLOUTS FILE

plays a trained policy so often and writes its score, for ``multimodal.py``.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from integration import integration_steps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from data_collection.envs.avoiding import Avoiding
from data_collection.envs.avoiding_routes import (
    FIELD_HIGH_M,
    FIELD_LOW_M,
    GOAL_Y_M,
    OBSTACLE_RADIUS_M,
    OBSTACLES_N2,
    behavior_entropy,
    route_of,
)
from data_collection.teachers import Teacher
from data_collection.teachers.avoiding_expert import AvoidingExpert
from trainer.acting import SavedPolicy, load_policy
from trainer.checkpoint import resolve_checkpoint
from trainer.distributed import choose_device
from trainer.environment import EVALUATION_SEED_START
from trainer.planner import PolicyPlanner
from trainer.rollout import EpisodeResult, Planner, RolloutHooks, RolloutJob, Slot, rollout
from trainer.schema import RolloutConfig

_SLOTS = 16
_TIMED_ROLLOUTS = 10
_COLUMNS = 5
_FIGURES = ("ms", "evaluations", "steps")


@dataclass(frozen=True)
class Ride:
    """A rollout's positions (T, 2), and whether it succeeded."""

    path_t2: np.ndarray
    success: bool


@dataclass(frozen=True)
class Score:
    """What the expert, or one trained policy, did."""

    rides: Sequence[Ride]
    ms: float | None = None
    """Time of a decision for a single environment."""
    evaluations: int | None = None
    """Integration steps of a decision."""
    steps: int | None = None
    """Gradient steps of the training."""

    @property
    def success(self) -> float:
        """Return the success rate."""
        return statistics.mean(ride.success for ride in self.rides)

    @property
    def entropy(self) -> float:
        """Return the behaviour entropy over the successful rides."""
        routes = [route_of(ride.path_t2) for ride in self.rides if ride.success]
        return behavior_entropy([[route for route in routes if route is not None]])

    def write(self, path: Path) -> None:
        """Write everything to a .npz file."""
        paths = [ride.path_t2 for ride in self.rides]
        figures = {name: getattr(self, name) for name in _FIGURES}
        np.savez_compressed(
            path,
            paths=np.concatenate(paths),
            ends=np.cumsum([len(path_t2) for path_t2 in paths]),
            success=[ride.success for ride in self.rides],
            **{name: value for name, value in figures.items() if value is not None},
        )

    @classmethod
    def read(cls, path: Path) -> Score:
        """Return what ``write`` wrote."""
        with np.load(path) as saved:
            paths = np.split(saved["paths"], saved["ends"][:-1])
            rides = [Ride(*each) for each in zip(paths, saved["success"].tolist(), strict=True)]
            return cls(rides, **{name: saved[name].item() for name in _FIGURES if name in saved})


class _Recorder(RolloutHooks):
    """Keeps the path of every episode; a teacher drives where no planner does."""

    def __init__(self, environments: Sequence[Avoiding], teacher: Teacher | None) -> None:
        self.rides: list[Ride] = []
        self.results: list[EpisodeResult] = []
        self._environments = environments
        self._teacher = teacher

    def on_reset(self, slot: Slot) -> None:
        if self._teacher:
            self._teacher.reset(slot.environment)

    def choose_action(self, slot: Slot, planned: np.ndarray | None) -> np.ndarray:
        if self._teacher is None:
            return super().choose_action(slot, planned)
        return self._teacher.act(slot.environment, slot.observation, slot.generator)

    def on_episode_end(self, slot: Slot, result: EpisodeResult) -> None:
        self.rides.append(Ride(self._environments[slot.index].path_t2, result.success))
        self.results.append(result)


def expert_score(rollouts: int) -> Score:
    """Return what the expert does in so many rollouts."""
    return Score(_play(rollouts, teacher=AvoidingExpert()).rides)


def policy_score(saved: SavedPolicy, rollouts: int) -> Score:
    """Return what a policy does in so many rollouts; decisions are timed in a few more."""
    rides = _play(rollouts, _planner(saved, _SLOTS), slots=_SLOTS).rides
    timed = _play(_TIMED_ROLLOUTS, _planner(saved, 1)).results
    seconds = sum(r.seconds_deciding for r in timed) / sum(r.decisions for r in timed)
    evaluations = integration_steps(saved.policy)
    return Score(rides, 1e3 * seconds, evaluations, saved.config.train.steps)


def _planner(saved: SavedPolicy, inference_batch: int) -> PolicyPlanner:
    config = saved.config.evaluation or RolloutConfig()
    return PolicyPlanner(
        saved.policy,
        saved.config.interface.to_interface(),
        inference_batch=inference_batch,
        execute_horizon=config.execute_horizon,
        temporal_ensembling=config.temporal_ensembling,
    )


def _play(
    rollouts: int, planner: Planner | None = None, teacher: Teacher | None = None, slots: int = 1
) -> _Recorder:
    seeds = range(EVALUATION_SEED_START, EVALUATION_SEED_START + rollouts)
    environments = [Avoiding(fixed_start=True) for _ in range(slots)]
    recorder = _Recorder(environments, teacher)
    jobs = [RolloutJob(str(seed), seed) for seed in seeds]
    for _ in rollout(environments, jobs, planner=planner, hooks=recorder):
        pass  # the recorder keeps them
    return recorder


def plot(scores: Mapping[str, Score], path: Path) -> None:
    """Draw a panel of paths for each name: blue where they succeed, red where they do not."""
    columns = min(_COLUMNS, len(scores))
    rows = -(-len(scores) // columns)
    figure = Figure(figsize=(2.6 * columns, 3.1 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for (name, score), panel in zip(scores.items(), panels, strict=False):
        _draw_field(panel)
        for success, colour in ((True, "tab:blue"), (False, "tab:red")):
            paths = [ride.path_t2 for ride in score.rides if ride.success == success]
            panel.add_collection(LineCollection(paths, colors=colour, linewidths=0.6, alpha=0.25))
        figures = f"success {score.success:.2f}, entropy {score.entropy:.2f}"
        panel.set_title(f"{name}\n{figures}", fontsize=9)
    for panel in panels:  # what is left of them
        panel.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw_field(panel: Axes) -> None:
    for x, y in OBSTACLES_N2:
        panel.add_patch(Circle((x, y), OBSTACLE_RADIUS_M, color="tab:grey"))
    panel.axhline(GOAL_Y_M, color="tab:green")
    low, high = FIELD_LOW_M, FIELD_HIGH_M
    panel.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])


def main(arguments: Sequence[str]) -> None:
    """Score one run."""
    run, rollouts, file = arguments
    saved = load_policy(resolve_checkpoint(Path(run)), choose_device("cpu"))
    policy_score(saved, int(rollouts)).write(Path(file))


if __name__ == "__main__":
    main(sys.argv[1:])
