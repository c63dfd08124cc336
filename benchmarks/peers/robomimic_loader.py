"""robomimic's own format and loader. Runs in its own environment; see install.sh."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import robomimic.utils.obs_utils as obs_utils
import torch
from contestants import Epoch, serve_loader
from robomimic.utils.dataset import SequenceDataset
from synthetic import Content
from torch.utils.data import DataLoader

CACHES = {"none": None, "low_dim": "low_dim", "all": "all"}


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


def main(spec: dict) -> None:
    """Write the data set, or serve as a contestant."""
    torch.set_num_threads(1)
    content = Content.from_json(spec["content"])
    if spec["do"] == "write":
        write(Path(spec["data"]), content)
        return
    modalities = {"low_dim": ["state"], "rgb": list(content.cameras)}
    obs_utils.initialize_obs_utils_with_obs_specs({"obs": modalities})

    def open_data(path: Path) -> Epoch:
        data = SequenceDataset(
            hdf5_path=str(path / "demonstrations.hdf5"),
            obs_keys=["state", *content.cameras],
            dataset_keys=["actions"],
            seq_length=spec["chunk"],
            hdf5_cache_mode=CACHES[spec["mode"]],
            load_next_obs=False,
        )
        loader = DataLoader(data, batch_size=spec["batch"], shuffle=True, drop_last=True)
        check(next(iter(loader)), content, spec)

        def epoch() -> Iterator[int]:
            for batch in loader:
                yield len(batch["actions"])

        return epoch

    serve_loader(open_data, spec)


def check(batch: dict, content: Content, spec: dict) -> None:
    """Raise unless the batch holds what every contestant delivers."""
    window = (spec["batch"], spec["chunk"])
    expected = {"state": ((*window, content.state), torch.float32)}
    for name, size in content.cameras.items():
        expected[name] = ((*window, *size, 3), torch.uint8)
    got = {key: (tuple(value.shape), value.dtype) for key, value in batch["obs"].items()}
    actions = batch["actions"]
    if got != expected or actions.shape != (*window, content.action):
        raise SystemExit(f"expected {expected}, got {got} and actions {actions.shape}")
    if actions.numpy().dtype != np.float32:
        raise SystemExit(f"expected float32 actions, got {actions.dtype}")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
