"""The figures of an evaluation: success with its interval, return, times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypedDict

import numpy as np

from trainer.rollout import EpisodeResult

EpisodeFigures = TypedDict(
    "EpisodeFigures",
    {"seed": int | None, "success": bool | None, "return": float, "length": int},
)
"""What came of one episode; older records knew neither its seed nor its success."""


@dataclass(frozen=True)
class Evaluation:
    """What a policy did in ``episodes`` episodes."""

    episodes: int
    success_rate: float
    success_interval: tuple[float, float]
    mean_return: float
    std_return: float
    mean_length: float
    seconds_per_decision: float
    seconds: float
    results: tuple[EpisodeFigures, ...] = ()
    """Of each episode, in the order of their seeds."""

    @property
    def returns(self) -> tuple[float, ...]:
        """The return of each episode."""
        return tuple(result["return"] for result in self.results)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The length of each episode."""
        return tuple(result["length"] for result in self.results)

    def figures(self) -> dict[str, float]:
        """Return the figures under the names they are logged by."""
        low, high = self.success_interval
        plain = {k: v for k, v in asdict(self).items() if not isinstance(v, tuple)}
        plain |= {"success_low": low, "success_high": high}
        return {f"evaluation/{name}": float(value) for name, value in plain.items()}

    @classmethod
    def figure_names(cls) -> list[str]:
        """Return the names of all ``figures``, before there are any."""
        plain = [f.name for f in fields(cls) if f.name not in ("success_interval", "results")]
        return [f"evaluation/{name}" for name in (*plain, "success_low", "success_high")]

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Evaluation:
        """Return the figures that became a mapping, and JSON, on the way."""
        tuples = {k: tuple(v) for k, v in plain.items() if isinstance(v, list)}
        values = {**plain, **tuples}
        if "returns" in values:  # written before there were seeds
            pairs = zip(values.pop("returns"), values.pop("lengths"), strict=True)
            values["results"] = tuple(
                EpisodeFigures({"seed": None, "success": None, "return": each, "length": length})
                for each, length in pairs
            )
        return cls(**values)

    def __str__(self) -> str:
        """Return one line for people."""
        low, high = self.success_interval
        return (
            f"success {self.success_rate:.2f} (95 % interval {low:.2f} to {high:.2f}, "
            f"{self.episodes} episodes), return {self.mean_return:.1f} ± {self.std_return:.1f}, "
            f"length {self.mean_length:.0f}, {1e3 * self.seconds_per_decision:.1f} ms a decision"
        )


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (95 % by default); Wilson (1927)."""
    if trials == 0:
        return 0.0, 1.0
    rate, z2 = successes / trials, z * z
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def summarize(results: Sequence[EpisodeResult], seconds: float) -> Evaluation:
    """Return the figures of finished episodes, in whatever order they ended."""
    results = sorted(results, key=lambda r: r.seed)
    returns = np.array([r.episode_return for r in results])
    successes = sum(r.success for r in results)
    decisions = sum(r.decisions for r in results)
    return Evaluation(
        episodes=len(results),
        success_rate=successes / len(results),
        success_interval=wilson_interval(successes, len(results)),
        mean_return=float(returns.mean()),
        std_return=float(returns.std()),
        mean_length=float(np.mean([r.length for r in results])),
        seconds_per_decision=sum(r.seconds_deciding for r in results) / max(decisions, 1),
        seconds=seconds,
        results=tuple(
            {"seed": r.seed, "success": r.success, "return": r.episode_return, "length": r.length}
            for r in results
        ),
    )
