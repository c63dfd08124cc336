"""Reads demonstrations in robomimic's HDF5 layout."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from data_collection.episodes.schema import ACTION, IMAGE_PREFIX, STATE
from data_collection.importing.imported_round import demonstrated
from trainer.errors import DataError, nearest

_NUMBERED = re.compile(r"(.+)_(\d+)")


@dataclass(frozen=True)
class Demonstration:
    """A demonstration in the open file."""

    group: h5py.Group
    name: str

    def __str__(self) -> str:
        return f"{self.group.file.filename}: {self.name}"

    def vectors(self) -> tuple[str, ...]:
        """Return the names of all vectors that were observed, sorted."""
        return tuple(sorted(k for k, data in self._observed().items() if _is_vector(data)))

    def shapes(self, keys: Sequence[str], cameras: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
        """Return the shape of one step of everything that is taken.

        Raises:
            DataError: Something is not there, of another kind, or of another length.
        """
        observed = self._observed()
        taken = {name: self._column(name) for name in ("actions", "rewards", "dones")}
        for key in (*keys, *cameras.values()):
            if key not in observed:
                known = sorted(observed)
                raise DataError(
                    f"{self}: no obs/{key}{nearest(key, known)}; there are {', '.join(known)}"
                )
            taken[f"obs/{key}"] = observed[key]
        lengths = {name: len(data) if data.ndim else 0 for name, data in taken.items()}
        if len(set(lengths.values())) > 1 or not lengths["actions"]:
            found = ", ".join(f"{length} {name}" for name, length in lengths.items())
            raise DataError(f"{self}: expected as many rows of each, and some: {found}")
        for key in keys:
            if not _is_vector(observed[key]):
                raise DataError(f"{self}: obs/{key} is {_kind(observed[key])}, expected a vector")
        for key in cameras.values():
            data = observed[key]
            if data.dtype != np.uint8 or data.ndim != 4 or data.shape[3] != 3:
                raise DataError(f"{self}: obs/{key} is {_kind(data)}, expected uint8 (T, H, W, 3)")
        state = sum(int(np.prod(observed[key].shape[1:])) for key in keys)
        pictures = {camera: observed[key].shape[1:3] for camera, key in cameras.items()}
        return {STATE: (state,), ACTION: taken["actions"].shape[1:]} | {
            IMAGE_PREFIX + camera: (3, *size) for camera, size in pictures.items()
        }

    def read(
        self, keys: Sequence[str], cameras: Mapping[str, str]
    ) -> tuple[dict[str, np.ndarray], bool]:
        """Return the episode's arrays, one row a step, and whether it is a success."""
        observed = self._observed()
        actions = self._column("actions")[()].astype(np.float32)
        rewards = self._column("rewards")[()].astype(np.float32).reshape(-1)
        done = self._column("dones")[()].reshape(-1) > 0
        steps = len(actions)
        state = np.concatenate(
            [observed[key][()].reshape(steps, -1).astype(np.float32) for key in keys], axis=1
        )
        arrays = demonstrated(state, actions, rewards, terminated=bool(done[-1]))
        for camera, key in cameras.items():
            pictures = observed[key][()].transpose(0, 3, 1, 2)
            arrays[IMAGE_PREFIX + camera] = np.ascontiguousarray(pictures)
        return arrays, bool((rewards[done] > 0).any() or rewards[-1] > 0)

    def _observed(self) -> dict[str, h5py.Dataset]:
        group = self.group.get("obs")
        if not isinstance(group, h5py.Group):
            raise DataError(
                f"{self}: no group obs (there are {', '.join(self.group)}); robomimic's "
                "dataset_states_to_obs.py adds it"
            )
        return {key: data for key, data in group.items() if isinstance(data, h5py.Dataset)}

    def _column(self, name: str) -> h5py.Dataset:
        data = self.group.get(name)
        if not isinstance(data, h5py.Dataset):
            raise DataError(f"{self}: no {name}; there are {', '.join(self.group)}")
        if data.dtype.kind not in "fiub" or (name == "actions" and data.ndim != 2):
            expected = "numbers (T, A)" if name == "actions" else "numbers (T,)"
            raise DataError(f"{self}: {name} is {_kind(data)}, expected {expected}")
        return data


def demonstrations(file: h5py.File, filter_key: str | None) -> list[Demonstration]:
    """Return those of the filter, or all, in the order of their numbers."""
    groups = file.get("data")
    if not isinstance(groups, h5py.Group) or not len(groups):
        raise DataError(
            f"{file.filename}: expected robomimic's layout, data/demo_0 and so on; "
            f"it has {', '.join(file) or 'nothing'}"
        )
    names = list(groups)
    if filter_key is not None:
        masks = file.get("mask")
        known = sorted(masks) if isinstance(masks, h5py.Group) else []
        listed = masks.get(filter_key) if isinstance(masks, h5py.Group) else None
        if not isinstance(listed, h5py.Dataset):
            raise DataError(
                f"{file.filename}: no filter key {filter_key!r}{nearest(filter_key, known)}; "
                f"there are {', '.join(known) or 'none'}"
            )
        names = [each.decode() if isinstance(each, bytes) else str(each) for each in listed[()]]
        if missing := sorted(set(names) - set(groups)):
            raise DataError(f"{file.filename}: mask/{filter_key} names {missing[0]}, not in data")
    if not names:
        raise DataError(f"{file.filename}: mask/{filter_key} names no demonstration")
    found = {name: groups[name] for name in sorted(set(names), key=episode_id)}
    if len({episode_id(name) for name in found}) < len(found):
        raise DataError(f"{file.filename}: two demonstrations have the same number")
    if wrong := [name for name, group in found.items() if not isinstance(group, h5py.Group)]:
        raise DataError(f"{file.filename}: data/{wrong[0]} is no group")
    return [
        Demonstration(group, name) for name, group in found.items() if isinstance(group, h5py.Group)
    ]


def episode_id(name: str) -> str:
    """Return a name that sorts by the number in it: ``demo_000012``."""
    match = _NUMBERED.fullmatch(name)
    return f"{match[1]}_{int(match[2]):06d}" if match else name


def _is_vector(data: h5py.Dataset) -> bool:
    return data.ndim in (1, 2) and data.dtype.kind in "fiub"


def _kind(data: h5py.Dataset) -> str:
    return f"{data.dtype} {data.shape}"


def env_args(file: h5py.File) -> object:
    """Return what the file says about the simulator that it comes from, None where nothing."""
    text = file["data"].attrs.get("env_args")
    try:
        return None if text is None else json.loads(text)
    except (TypeError, ValueError):
        return str(text)
