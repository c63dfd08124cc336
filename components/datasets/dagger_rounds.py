"""Rounds of recorded episodes as training samples: a window is a gather, fetched a batch at a time.

Shape legend: B batch, To observation steps, H action-chunk steps.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from components.datasets.blocks import BlockPool
from components.datasets.cache import Cache, Choice, choose
from components.datasets.delivery import cameras_with_depth, decoded, rows_to_deliver
from components.datasets.episode_choice import chosen_episodes
from components.datasets.episode_scores import (
    EpisodeScores,
    episode_identities,
    episode_weights,
    multiplied,
)
from components.datasets.fit import check_fits
from components.datasets.round_weights import RoundWeights, sample_weights
from components.datasets.rounds import (
    merged_statistics,
    open_rounds,
    recorded_environment,
    recorded_tasks,
)
from components.datasets.row_sources import RowSource, open_sources
from components.datasets.target_lengths import (
    in_words,
    targets_by_round,
    warn_of_short_targets,
)
from components.datasets.windows import longest_target, make_windows
from data_collection.episodes import EpisodeError, SealedRound
from trainer.errors import DataError
from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    EPISODE_INDEX,
    FRAME_INDEX,
    ROUND_INDEX,
    STATE,
    TASK,
    Batch,
    Dataset,
    FeatureStatistics,
    Interface,
)
from trainer.ops import to_device
from trainer.registry import datasets

_log = logging.getLogger(__name__)


@datasets.register("dagger_rounds")
class DaggerRounds(Dataset):
    """Sealed rounds: state, the interface's cameras, their depth on request, and action chunks.

    Sample t observes the frames t-To+1 … t, repeating the episode's first frame where there is no
    history. Its target is the label chunk of frame t if there is one, else the recorded actions
    from t on for as long as the expert itself executed them, undisturbed. Padding repeats the last
    valid action; frames without a valid target are no samples.

    Args:
        interface: What the policy sees and does.
        root: Project root, from where relative rounds start.
        rounds: Folders of rounds, or folders holding ``round_NNN`` (all sealed ones), oldest first.
        cache: Where the data are kept: on the training device, in memory, or nowhere (mapped
            files); ``auto`` takes the first of these that leaves half of what is free.
        depth: Cameras of the interface whose depth is delivered too, in metres.
        round_weights: How often samples of each round are drawn; see ``round_weights.py``.
        episode_scores: Which episodes are kept, or drawn how often; see ``episode_scores.py``.
            Weights of rounds and of episodes multiply.
        only_successes: Leave failed episodes out, all their frames. Not for rounds that a student
            drove: what the expert says about its failures is what DAgger learns from.
        episodes: Take these alone: ids, or ``round_001/id`` where several rounds have the id.
            Shares of ``episode_scores`` are of what these two leave.

    Raises:
        DataError: A round is missing, damaged or does not fit the interface, the chunk is longer
            than any episode, no frame has a valid target, no episode is left, or the scores are of
            other data.
        ValueError: ``round_weights`` do not fit the rounds, or ``depth`` the interface.
    """

    def __init__(
        self,
        interface: Interface,
        root: Path,
        *,
        rounds: list[str],
        cache: Cache = "auto",
        depth: list[str] | None = None,
        round_weights: RoundWeights | None = None,
        episode_scores: EpisodeScores | None = None,
        only_successes: bool = False,
        episodes: list[str] | None = None,
    ) -> None:
        self._root = root
        self._cache: Cache = cache
        self._interface = interface
        wanted_depth = cameras_with_depth(interface, depth)
        self._rounds = open_rounds(root, rounds)
        for sealed in self._rounds:
            check_fits(sealed, interface, wanted_depth)
        _check_chunk(self._rounds, interface.chunk)
        try:
            windows = make_windows(self._rounds, interface.chunk)
        except EpisodeError as error:
            raise DataError(str(error)) from error
        if len(windows.frames) == 0:
            raise DataError(f"no frame of the rounds {rounds} has a valid action to learn")
        chosen_e = chosen_episodes(self._rounds, only_successes, episodes)
        windows = windows.where(chosen_e[windows.episodes])
        if len(windows.frames) == 0:
            raise DataError("no frame of the chosen episodes has a valid action to learn")
        weight_e = np.ones(len(windows.episode_starts))
        if episode_scores is not None:
            sampled = np.unique(windows.episodes)
            weight_e = episode_weights(episode_scores, root, self._rounds, sampled)
            windows = windows.where((weight_e > 0)[windows.episodes])
        kept_e = chosen_e & (weight_e > 0)
        of_all = "" if kept_e.all() else f" of {len(kept_e):,}"
        which = " (the successful ones)" if only_successes else ""
        self._kept = f"{kept_e.sum():,}{of_all} episodes{which}"
        self._windows = windows
        self._targets = targets_by_round(self._rounds, windows, interface.chunk)
        longest = int(windows.target_lengths.max())
        warn_of_short_targets(self._targets, longest, interface.chunk)
        self._statistics = merged_statistics(self._rounds, kept_e)
        self._rows = rows_to_deliver(self._rounds, interface, wanted_depth)
        self._weights = sample_weights(round_weights, self._samples_per_round())
        if episode_scores is not None:
            self._weights = multiplied(self._weights, weight_e[windows.episodes])
        self._history = np.arange(1 - interface.obs_steps, 1)
        self._steps = np.arange(interface.chunk)
        self._device = self._home = torch.device("cpu")
        """Where batches are wanted, and where they come out: the same only with resident data."""
        self._choice: Choice | None = None
        self._blocks = BlockPool()
        self._sources: dict[str, RowSource] = {}

    def __len__(self) -> int:
        """Return the number of frames with a valid target."""
        return len(self._windows.frames)

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Return the batch, on the device when the data are cached there, else on the CPU."""
        return self._gathered(indices, self._rows)

    def low_dim(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Return the batch without cameras."""
        return self._gathered(indices, (STATE, ACTION))

    def _gathered(self, indices: Sequence[int] | np.ndarray, keys: Iterable[str]) -> Batch:
        if not self._sources:
            self.to_device(self._device)
        windows = self._windows
        index = np.asarray(indices, dtype=np.int64)
        frame = windows.frames[index].astype(np.int64)
        episode = np.searchsorted(windows.episode_starts, frame, side="right") - 1
        first = windows.episode_starts[episode]
        observed = np.maximum(frame[:, None] + self._history, first[:, None])
        target = frame if windows.target_starts is None else windows.target_starts[index]
        valid = windows.target_lengths[index, None].astype(np.int64)
        acted = target[:, None] + np.minimum(self._steps, valid - 1)
        batch = {
            key: self._sources[key].gather(acted if key == ACTION else observed) for key in keys
        }
        if TASK in batch:
            batch[TASK] = batch[TASK][:, -1]
        batch[ACTION_IS_PAD] = self._tensor(self._steps >= valid)
        batch[EPISODE_INDEX] = self._tensor(episode)
        batch[FRAME_INDEX] = self._tensor(frame - first)
        batch[ROUND_INDEX] = self._tensor(windows.round_of_episode[episode])
        return batch

    def statistics(self) -> dict[str, FeatureStatistics]:
        """Return those of all steps of the episodes that are kept, exactly."""
        return self._statistics

    def episode_of_sample(self) -> np.ndarray:
        """Return (len,) int64: the episode of each sample, numbered over all rounds."""
        return self._windows.episodes

    def identity(self) -> str:
        """Return the content hashes of all episodes, in their order."""
        return " ".join(each["content_sha256"] for each in self.episode_identities())

    def episode_identities(self) -> list[dict[str, str]]:
        """Return round, id and content hash of each episode."""
        return episode_identities(self._rounds, self._root)

    def sample_weights(self) -> np.ndarray | None:
        """Return (len,) weights by round and by score, or None when all count the same."""
        return self._weights

    def environment_config(self) -> Mapping[str, object] | None:
        """Return ``{type, params}`` of the newest round's environment, or None."""
        return recorded_environment(self._rounds)

    def tasks(self) -> Mapping[str, str]:
        """Return the tasks of the rounds' environments, each with its first round."""
        return recorded_tasks(self._rounds)

    def task_indices(self) -> np.ndarray:
        """Return the task indices of the frames with a valid target."""
        if TASK not in self._rows:
            return super().task_indices()
        recorded = np.concatenate([sealed.read_rows(TASK) for sealed in self._rounds])
        return np.unique(recorded[self._windows.frames])

    def describe(self) -> str:
        """Return how much data there is, where it is kept and why, and how long its targets are."""
        line = (
            f"dagger_rounds: {len(self):,} samples from {self._kept} of "
            f"{len(self._rounds)} round(s), {self._nbytes / 1e6:,.1f} MB"
        )
        if self._choice is not None:
            where = {"none": "mapped from disk", "ram": "in RAM", "device": f"on {self._device}"}
            line += f" {where[self._choice.place]} ({self._choice.reason})"
        if self._interface.chunk > 1:
            line += f"; {in_words(self._targets, self._interface.chunk)}"
        return line

    def to_device(self, device: torch.device) -> None:
        """Put the data where ``cache`` says, given the device that batches are wanted on.

        With data-loader workers give the CPU: workers share data in RAM, not on a device.
        """
        if self._choice is not None and device == self._device:
            return
        was_mapped = self._choice is not None and self._choice.place == "none"
        self._device = device
        self._choice = choose(self._cache, self._nbytes, device)
        _log.info("%s", self.describe())
        mapped = self._choice.place == "none"
        self._home = device if self._choice.place == "device" else torch.device("cpu")
        if not self._sources or mapped != was_mapped:
            stored = open_sources(self._rows, self._blocks, resident=not mapped)
            self._sources = {
                key: decoded(key, source, self._rows[key], self._interface, self._blocks)
                for key, source in stored.items()
            }
        self._blocks.pinned = device.type == "cuda"  # JPEG frames leave the CPU wherever they lie
        self._sources = {key: source.to(self._home) for key, source in self._sources.items()}

    def __getstate__(self) -> Mapping[str, object]:
        if self._home.type != "cpu":
            raise DataError("cache: device needs data.num_workers: 0; use cache: ram with workers")
        return self.__dict__

    @property
    def _nbytes(self) -> int:
        return sum(rows.nbytes for rows in self._rows.values())

    def _samples_per_round(self) -> np.ndarray:
        rounds = self._windows.round_of_episode[self.episode_of_sample()]
        return np.bincount(rounds, minlength=len(self._rounds))

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self._home.type == "cpu" else to_device(tensor, self._home)


def _check_chunk(rounds: Sequence[SealedRound], chunk: int) -> None:
    longest = max(longest_target(sealed) for sealed in rounds)
    if chunk > longest:
        raise DataError(
            f"interface.chunk is {chunk}, but the longest episode or label of the rounds has "
            f"{longest} steps; choose a chunk that fits"
        )
