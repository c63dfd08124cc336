"""robomimic's own format and loader. Runs in its own environment; see install.sh."""

# Its packages are in that environment alone.
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import robomimic.utils.obs_utils as obs_utils
import torch
from contestants import Epoch, Task, serve_loader
from robomimic.utils.dataset import SequenceDataset
from synthetic import Content
from torch.utils.data import DataLoader


def write(path: Path, content: Content) -> None:
    """Write the content as robomimic stores demonstrations, in the dtypes it has."""
    path.mkdir(parents=True)
    with h5py.File(path / "demonstrations.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = content.episodes * content.length
        data.attrs["env_args"] = json.dumps({"env_name": "none", "type": 1, "env_kwargs": {}})
        for number, arrays in enumerate(content.generate()):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = content.length
            demo["actions"] = arrays.pop("action")
            for key, values in arrays.items():
                demo[f"obs/{key}"] = values


def open_data(path: Path, task: Task) -> Epoch:
    """Return one-epoch iterators over the demonstrations in ``path``."""
    content = task.content
    data = SequenceDataset(
        hdf5_path=str(path / "demonstrations.hdf5"),
        obs_keys=["state", *content.cameras],
        dataset_keys=["actions"],
        seq_length=task.chunk,
        hdf5_cache_mode=None if task.cache == "none" else task.cache,
        load_next_obs=False,
    )
    loader = DataLoader(data, batch_size=task.batch, shuffle=True, drop_last=True)
    check(next(iter(loader)), task)

    def epoch() -> Iterator[int]:
        for batch in loader:
            yield len(batch["actions"])

    return epoch


def check(batch: dict, task: Task) -> None:
    """Raise unless the batch holds what every contestant delivers."""
    content, window = task.content, (task.batch, task.chunk)
    expected = {
        "state": ((*window, content.state), torch.float32),
        "actions": ((*window, content.action), torch.float32),
    } | {name: ((*window, *size, 3), torch.uint8) for name, size in content.cameras.items()}
    values = {"actions": batch["actions"], **batch["obs"]}
    got = {key: (tuple(value.shape), value.dtype) for key, value in values.items()}
    if got != expected:
        raise SystemExit(f"expected {expected}, got {got}")


def main(arguments: Sequence[str]) -> None:
    """Write the data set, or serve as a contestant."""
    torch.set_num_threads(1)
    task = Task.from_arguments(arguments)
    if task.do == "write":
        write(Path(task.data), task.content)
        return
    modalities = {"low_dim": ["state"], "rgb": list(task.content.cameras)}
    obs_utils.initialize_obs_utils_with_obs_specs({"obs": modalities})
    serve_loader(lambda path: open_data(path, task), task)


if __name__ == "__main__":
    main(sys.argv[1:])
