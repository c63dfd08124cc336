"""Writes small data sets as LeRobot has them, of codebase versions v2.1 and v3.0."""

import io
import json
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FPS = 10
STEPS = {0: 20, 1: 25, 2: 18}
TOP, WRIST = "observation.images.top", "observation.images.wrist"
SIZE = (32, 48)
TASKS = {0: "push", 1: "pull"}


def an_episode(number):
    """Return what was recorded, by feature; ``TOP`` becomes a video, ``WRIST`` PNGs."""
    rng = np.random.default_rng(number)
    steps = STEPS[number]
    is_last = np.arange(steps) == steps - 1
    # Smooth pictures, each unlike its neighbours: the codec errs by little.
    shade = (np.arange(steps) * 9 + number * 3)[:, None, None, None]
    ramp = np.linspace(0, 40, SIZE[1])[None, None, :, None]
    return {
        "observation.state": rng.normal(size=(steps, 3)).astype(np.float32),
        "observation.gripper": rng.normal(size=steps).astype(np.float32),
        "action": rng.normal(size=(steps, 7)).astype(np.float32),
        "next.reward": np.where(is_last, float(number == 2), 0.0).astype(np.float32),
        "next.done": is_last & (number != 1),
        "next.success": is_last & (number == 0),
        TOP: np.broadcast_to(shade % 200 + ramp, (steps, *SIZE, 3)).astype(np.uint8),
        WRIST: rng.integers(0, 256, (steps, *SIZE, 3)).astype(np.uint8),
        "timestamp": (np.arange(steps) / FPS).astype(np.float32),
        "frame_index": np.arange(steps),
        "episode_index": np.full(steps, number),
        "task_index": np.full(steps, number % 2),
    }


def features_of(episode, leave_out=()):
    """Return the features as info.json has them."""
    features = {}
    for name, values in episode.items():
        kind = {TOP: "video", WRIST: "image"}.get(name, str(values.dtype))
        features[name] = {"dtype": kind, "shape": list(values.shape[1:]) or [1], "names": None}
    features[WRIST]["shape"] = [3, *SIZE]  # both orders are about
    return {name: feature for name, feature in features.items() if name not in leave_out}


def table_of(episode, features):
    """Return the Parquet table: vectors as lists, pictures as PNGs, no videos."""
    columns = {}
    for name in features:
        values = episode[name]
        if name == WRIST:
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            rows = [{"bytes": _png(frame), "path": None} for frame in values]
            columns[name] = pa.array(rows, kind)
        elif name != TOP:
            columns[name] = pa.array(list(values))
    return pa.table(columns)


def write_v21(folder, change=lambda number, episode: episode, leave_out=()):
    """Write a data set with a file an episode."""
    episodes = {number: change(number, an_episode(number)) for number in STEPS}
    features = features_of(an_episode(0), leave_out)
    _info(
        folder, "v2.1", features, chunks_size=2,
        data_path="data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        video_path="videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    )  # fmt: skip
    for number, episode in episodes.items():
        chunk = f"chunk-{number // 2:03d}"
        data = _made(folder / "data" / chunk / f"episode_{number:06d}.parquet")
        pq.write_table(table_of(episode, features), data)
        _film(folder / "videos" / chunk / TOP / f"episode_{number:06d}.mp4", episode[TOP])
    _lines(folder / "meta" / "tasks.jsonl", [{"task_index": n, "task": TASKS[n]} for n in TASKS])
    listed = [{"episode_index": n, "tasks": [TASKS[n % 2]], "length": STEPS[n]} for n in STEPS]
    _lines(folder / "meta" / "episodes.jsonl", listed)
    return folder


def write_v30(folder, change=lambda number, episode: episode, leave_out=()):
    """Write a data set with episodes 0 and 1 in one file, 2 in another, all in one video."""
    episodes = {number: change(number, an_episode(number)) for number in STEPS}
    features = features_of(an_episode(0), leave_out)
    _info(
        folder, "v3.0", features, chunks_size=1000,
        data_path="data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        video_path="videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    )  # fmt: skip
    tables = {number: table_of(episode, features) for number, episode in episodes.items()}
    data = folder / "data" / "chunk-000"
    pq.write_table(pa.concat_tables([tables[0], tables[1]]), _made(data / "file-000.parquet"))
    pq.write_table(tables[2], data / "file-001.parquet")
    _film(
        folder / "videos" / TOP / "chunk-000" / "file-000.mp4",
        np.concatenate([episode[TOP] for episode in episodes.values()]),
    )
    ends = dict(zip(STEPS, np.cumsum(list(STEPS.values())).tolist(), strict=True))
    listed = [
        {
            "episode_index": number,
            "tasks": [TASKS[number % 2]],
            "length": steps,
            "data/chunk_index": 0,
            "data/file_index": number // 2,
            f"videos/{TOP}/chunk_index": 0,
            f"videos/{TOP}/file_index": 0,
            f"videos/{TOP}/from_timestamp": (ends[number] - steps) / FPS,
            f"videos/{TOP}/to_timestamp": ends[number] / FPS,
            "stats/action/mean": [0.0],
        }
        for number, steps in STEPS.items()
    ]
    meta = folder / "meta"
    file = _made(meta / "episodes" / "chunk-000" / "file-000.parquet")
    pq.write_table(pa.Table.from_pylist(listed), file)
    tasks = {"task_index": list(TASKS), "__index_level_0__": list(TASKS.values())}
    pq.write_table(pa.table(tasks), meta / "tasks.parquet")
    return folder


def _info(folder, version, features, **others):
    said = {"codebase_version": version, "robot_type": "arm", "fps": FPS, "features": features}
    _made(folder / "meta" / "info.json").write_text(json.dumps(said | others))


def _lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _film(path: Path, frames):
    with imageio.get_writer(
        _made(path), fps=FPS, codec="libx264", pixelformat="yuv420p", macro_block_size=1,
        output_params=["-g", "2", "-crf", "10"],
    ) as writer:  # fmt: skip
        for frame in frames:
            writer.append_data(frame)


def _png(frame):
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "PNG")
    return stream.getvalue()


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
