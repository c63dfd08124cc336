"""Statistics become the policy's normaliser."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    STATE,
    ActionTransform,
    Batch,
    Dataset,
    FeatureStatistics,
    Normalizer,
)
from trainer.schema import NormalizationConfig

log = logging.getLogger(__name__)

_CLIPPED_SHARE_WORTH_SAYING = 0.01
_CHUNK_OF_SAMPLES = 4096
_ARRAYS = ("mean", "std", "min", "max")


class AffineNormalizer(Normalizer):
    """``(x - shift) / scale`` for state and action, after the action transform.

    The state is clipped to ``±clip`` normalised units, so that a dimension which hardly moved in
    the data cannot explode in states that the policy has not seen; for the same reason its
    deviation counts as ``std_floor`` at least, and that of an action as this share of the largest
    one of all actions. Neither actions nor a state in raw units (mode ``none``) are clipped.
    """

    state_shift: Tensor
    state_scale: Tensor
    action_shift: Tensor
    action_scale: Tensor

    def __init__(
        self,
        statistics: Mapping[str, FeatureStatistics],
        config: NormalizationConfig,
        action_transform: ActionTransform,
    ) -> None:
        super().__init__()
        self.clip = math.inf if config.state == "none" else config.clip
        self.action_transform = action_transform
        self._config = config
        self._scales_actions = config.action != "none"
        for name, key in (("state", STATE), ("action", ACTION)):
            shape = statistics[key].mean.shape
            # Not persistent: the checkpoint keeps the float64 statistics in normalization.json.
            self.register_buffer(f"{name}_shift", torch.zeros(shape), persistent=False)
            self.register_buffer(f"{name}_scale", torch.ones(shape), persistent=False)
        self.update(statistics)

    def update(self, statistics: Mapping[str, FeatureStatistics]) -> None:
        """Take over other statistics, in place."""
        self.statistics = dict(statistics)
        config = self._config
        for shift, scale, key, mode in (
            (self.state_shift, self.state_scale, STATE, config.state),
            (self.action_shift, self.action_scale, ACTION, config.action),
        ):
            floor = config.std_floor
            if key == ACTION:  # tiny units, such as metres a step, are no reason to learn less
                floor *= float(self.statistics[key].std.max()) or 1.0
            new_shift, new_scale = _affine(self.statistics[key], mode, floor)
            # From memory that is not pinned the values are taken at once, though nobody waits.
            shift.copy_(new_shift, non_blocking=True)
            scale.copy_(new_scale, non_blocking=True)

    def normalize(self, batch: Batch) -> Batch:
        """Return a copy of ``batch`` with normalised state and, if present, action."""
        normalized = dict(batch)
        state = batch[STATE]
        scaled = (state - self.state_shift).div_(self.state_scale)
        normalized[STATE] = scaled.clamp_(-self.clip, self.clip)
        if ACTION in batch:
            action = self.action_transform.forward(batch[ACTION], state[:, -1])
            if self._scales_actions:
                action = (action - self.action_shift).div_(self.action_scale)
            normalized[ACTION] = action
        return normalized

    def unnormalize_action(self, action_bha: Tensor, observation: Batch) -> Tensor:
        """Return the chunk in real units: the inverse of what ``normalize`` does to actions."""
        if self._scales_actions:
            action_bha = action_bha * self.action_scale + self.action_shift
        return self.action_transform.inverse(action_bha, observation[STATE][:, -1])

    def clipped_share(self, state: Tensor) -> float:
        """Return the share of raw state values (…, S) that ``normalize`` would clip."""
        scaled = (state.to(self.state_shift) - self.state_shift) / self.state_scale
        return float((scaled.abs() > self.clip).double().mean())


def _affine(statistics: FeatureStatistics, mode: str, std_floor: float) -> tuple[Tensor, Tensor]:
    if mode == "mean_std":
        shift, scale = statistics.mean, np.maximum(statistics.std, std_floor)
    elif mode == "min_max":
        shift = (statistics.max + statistics.min) / 2
        scale = np.maximum((statistics.max - statistics.min) / 2, std_floor)
    else:
        shift, scale = np.zeros_like(statistics.mean), np.ones_like(statistics.mean)
    return torch.from_numpy(shift).float(), torch.from_numpy(scale).float()


def compute_statistics(
    dataset: Dataset, action_transform: ActionTransform
) -> dict[str, FeatureStatistics]:
    """Return the statistics of states and of *transformed* actions.

    The rounds' own exact statistics serve where actions are not transformed; otherwise one pass
    over all windows computes them from the valid steps of every chunk.
    """
    statistics = dataset.statistics()
    if action_transform.is_identity:
        return statistics
    about = np.zeros_like(statistics[ACTION].mean)
    count, total, squares = 0, np.zeros_like(about), np.zeros_like(about)
    low, high = np.full_like(about, np.inf), np.full_like(about, -np.inf)
    for start in range(0, len(dataset), _CHUNK_OF_SAMPLES):
        batch = dataset.low_dim(range(start, min(start + _CHUNK_OF_SAMPLES, len(dataset))))
        action = action_transform.forward(batch[ACTION], batch[STATE][:, -1])
        rows = action[~batch[ACTION_IS_PAD]].double().cpu().numpy()
        if count == 0:
            about = rows.mean(0)  # near the mean the sums of squares lose no digits
        count += len(rows)
        total += (rows - about).sum(0)
        squares += np.square(rows - about).sum(0)
        low, high = np.minimum(low, rows.min(0)), np.maximum(high, rows.max(0))
    std = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0))
    transformed = FeatureStatistics(count, about + total / count, std, low, high)
    return {**statistics, ACTION: transformed}


def warn_when_clipped(normalizer: AffineNormalizer, dataset: Dataset) -> None:
    """Say aloud when more than 1 % of the data's state values are clipped.

    Samples are read only where the recorded extremes lie beyond the clip, which is rare.
    """
    recorded = dataset.statistics()[STATE]
    extremes = torch.from_numpy(np.stack([recorded.min, recorded.max]))
    if normalizer.clipped_share(extremes) == 0:
        return
    samples = np.unique(np.linspace(0, len(dataset) - 1, _CHUNK_OF_SAMPLES).astype(np.int64))
    share = normalizer.clipped_share(dataset.low_dim(samples)[STATE])
    if share > _CLIPPED_SHARE_WORTH_SAYING:
        log.warning(
            "%.1f %% of the data's state values lie beyond ±%g normalised units and are clipped "
            "(normalization.clip); where statistics were kept from another run, "
            "normalization.on_warm_start: recompute would fit them, at the price of shifting every "
            "input under the warm-started weights",
            100 * share,
            normalizer.clip,
        )


def statistics_to_json(statistics: Mapping[str, FeatureStatistics]) -> str:
    """Return the statistics as JSON; float64 values survive the round trip exactly."""
    plain = {
        key: {
            "count": value.count,
            **{name: getattr(value, name).tolist() for name in _ARRAYS},
        }
        for key, value in statistics.items()
    }
    return json.dumps(plain, indent=1)


def statistics_from_json(text: str) -> dict[str, FeatureStatistics]:
    """Return what ``statistics_to_json`` wrote."""
    return {
        key: FeatureStatistics(
            value["count"],
            **{name: np.asarray(value[name], dtype=np.float64) for name in _ARRAYS},
        )
        for key, value in json.loads(text).items()
    }
