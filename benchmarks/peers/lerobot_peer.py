"""LeRobot's own format, recorder and loader. Runs in its own environment; see install.sh."""

# Its packages are in that environment alone.
# pyright: reportMissingImports=false

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["SVT_LOG"] = "1"

import torch
from contestants import Epoch, Task, serve, serve_loader
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from synthetic import Arrays, Content
from torch.utils.data import DataLoader

FPS = 30
IMAGE = "observation.images."
RECORDERS = {
    "video": {"use_videos": True},
    "streamed video": {"use_videos": True, "streaming_encoding": True},
    "images": {"use_videos": False, "image_writer_threads": 4},
}
"""The arguments of ``LeRobotDataset.create``; image writer threads as its documentation advises."""


def create(path: Path, content: Content, storage: str) -> LeRobotDataset:
    """Return a new data set, ready to record."""
    pixels = "video" if RECORDERS[storage]["use_videos"] else "image"
    names = ["height", "width", "channels"]
    features = {
        "observation.state": {"dtype": "float32", "shape": (content.state,), "names": None},
        "action": {"dtype": "float32", "shape": (content.action,), "names": None},
    } | {
        IMAGE + name: {"dtype": pixels, "shape": (*size, 3), "names": names}
        for name, size in content.cameras.items()
    }
    return LeRobotDataset.create("peer/data", FPS, features, root=path, **RECORDERS[storage])


def record(data: LeRobotDataset, episodes: list[Arrays]) -> None:
    """Record the episodes frame by frame, as a robot's control loop would."""
    keys = {"state": "observation.state", "action": "action"}
    for arrays in episodes:
        for t in range(len(arrays["action"])):
            frame = {keys.get(name, IMAGE + name): values[t] for name, values in arrays.items()}
            data.add_frame({**frame, "task": "made up"})
        data.save_episode()
    data.finalize()


def serve_recorder(task: Task) -> None:
    """Answer ``record``: frames a second, a frame being one step of all cameras."""
    episodes, folder = list(task.content.generate()), Path(task.data)

    def answer(_: float) -> dict[str, float]:
        shutil.rmtree(folder, ignore_errors=True)
        start = time.perf_counter()
        record(create(folder, task.content, task.storage), episodes)
        seconds = time.perf_counter() - start
        return {"frames_per_s": task.content.episodes * task.content.length / seconds}

    serve({"record": answer})


def open_data(path: Path, task: Task) -> Epoch:
    """Return one-epoch iterators over the data set in ``path``."""
    decoder = None if task.cache == "none" else task.cache
    deltas = {"action": [k / FPS for k in range(task.chunk)]} if task.chunk > 1 else None
    data = LeRobotDataset("peer/data", path, delta_timestamps=deltas, video_backend=decoder)
    loader = DataLoader(data, batch_size=task.batch, shuffle=True, drop_last=True)

    def epoch() -> Iterator[int]:
        for batch in loader:
            yield len(batch["action"])

    return epoch


def main(arguments: Sequence[str]) -> None:
    """Write the data set, or serve as a contestant."""
    torch.set_num_threads(1)
    task = Task.from_arguments(arguments)
    if task.do == "write":
        record(create(Path(task.data), task.content, task.storage), list(task.content.generate()))
    elif task.do == "record":
        serve_recorder(task)
    else:
        serve_loader(lambda path: open_data(path, task), task)


if __name__ == "__main__":
    main(sys.argv[1:])
