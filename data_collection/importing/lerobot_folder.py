"""Reads what a LeRobot data set says about itself: its features, episodes, tasks and files."""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from trainer.errors import DataError, UserError, nearest

ACTION_KEY = "action"
EPISODE_INDEX = "episode_index"
_INFO = "meta/info.json"
_BY_EPISODE = ("v2.0", "v2.1")  # a file an episode; they differ in their statistics alone
_BY_FILE = ("v3.0",)  # a file holds many


def _parquet() -> ModuleType:
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise UserError(
            "LeRobot's data sets need pyarrow: pip install 'offline-trainer[lerobot]'"
        ) from error


def read_columns(
    file: Path, names: Sequence[str] | None = None, *, episode: int | None = None
) -> dict[str, list]:
    """Return columns of a Parquet file by name, of all rows or of an episode's.

    Args:
        file: The file.
        names: Which of them; None: all but the statistics.
        episode: The number of the episode.

    Raises:
        DataError: The file is missing or damaged, or has no such column.
    """
    library = _parquet()
    if not file.is_file():
        raise DataError(f"{file} is not there")
    try:
        there = library.read_schema(file).names
        if names is None:
            names = [name for name in there if not name.startswith("stats/")]
        if missing := [name for name in names if name not in there]:
            raise DataError(f"{file} has no column {missing[0]}")
        rows = None if episode is None else [(EPISODE_INDEX, "=", episode)]
        table = library.read_table(file, columns=list(names), filters=rows)
    except (OSError, ValueError) as error:  # pyarrow's own are among them
        raise DataError(f"{file} cannot be read: {str(error).splitlines()[0]}") from error
    return {name: table.column(name).to_pylist() for name in table.column_names}


@dataclass(frozen=True)
class Part:
    """Where an episode's frames of a camera lie: from ``begin_s`` to ``end_s`` of a video."""

    video: Path
    begin_s: float = 0.0
    end_s: float = math.inf


class LerobotFolder:
    """A data set of one of the known versions.

    Raises:
        DataError: ``folder`` is none, or of another version.
        UserError: pyarrow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        _parquet()
        self.folder = folder
        self.info_file = folder / _INFO
        if not self.info_file.is_file():
            raise DataError(f"{folder} is no LeRobot data set: it has no {_INFO}")
        self._info = _json(self.info_file.read_text(), self.info_file)
        self.version = self._text("codebase_version")
        if self.version not in (*_BY_EPISODE, *_BY_FILE):
            raise DataError(
                f"{self.info_file}: codebase_version {self.version!r}; expected one of "
                f"{', '.join((*_BY_EPISODE, *_BY_FILE))}"
            )
        self.fps = float(self._number("fps"))
        features = self._info.get("features")
        if not isinstance(features, dict) or not all(
            isinstance(f, dict) for f in features.values()
        ):
            raise DataError(f"{self.info_file}: expected features, by their names")
        self.features: Mapping[str, Mapping[str, object]] = features
        self.robot = self._info.get("robot_type")

    def __str__(self) -> str:
        return str(self.folder)

    def shape(self, key: str) -> tuple[int, ...]:
        """Return the shape of one step of a feature; raise DataError for an unknown one."""
        if key not in self.features:
            known = sorted(self.features)
            raise DataError(
                f"{self}: no feature {key}{nearest(key, known)}; there are {', '.join(known)}"
            )
        shape = self.features[key].get("shape")
        if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
            raise DataError(f"{self.info_file}: features.{key}.shape is {shape!r}, expected sizes")
        return tuple(shape)

    def dtype(self, key: str) -> str:
        """Return what a feature is made of; ``video`` and ``image`` are pictures."""
        return str(self.features[key].get("dtype"))

    def vector_size(self, key: str) -> int:
        """Return how many numbers a step has of a feature; raise DataError if it is no vector."""
        shape, dtype = self.shape(key), self.dtype(key)
        if len(shape) != 1 or not dtype.startswith(("float", "int", "uint", "bool")):
            raise DataError(f"{self}: {key} is {dtype} {shape}, expected a vector of numbers")
        return shape[0]

    def picture_size(self, key: str) -> tuple[int, int]:
        """Return height and width of a camera; raise DataError if it is none."""
        shape, dtype = self.shape(key), self.dtype(key)
        about = [self.features[key].get(name) for name in ("info", "video_info")]
        depth = any(
            said.get(name)
            for said in about
            if isinstance(said, dict)
            for name in ("is_depth_map", "video.is_depth_map")
        )
        if dtype not in ("video", "image") or len(shape) != 3 or 3 not in shape[::2] or depth:
            found = "a depth map" if depth else f"{dtype} {shape}"
            raise DataError(f"{self}: {key} is {found}, expected a video or images in colour")
        return (shape[0], shape[1]) if shape[2] == 3 else (shape[1], shape[2])

    def episodes(self, numbers: Sequence[int] = ()) -> dict[int, Mapping[str, object]]:
        """Return what is said about the episodes of these numbers, or about all.

        Raises:
            DataError: One of them is not there.
        """
        found = dict(self._listed(self._listed_episodes(), EPISODE_INDEX))
        if missing := sorted(set(numbers) - set(found)):
            there = f"{min(found)} to {max(found)}" if found else "none"
            raise DataError(f"{self}: no episode {missing[0]}; there are {there}")
        if not found:
            raise DataError(f"{self}: it lists no episodes")
        return {number: found[number] for number in sorted(set(numbers or found))}

    def tasks(self) -> dict[int, str]:
        """Return the tasks' texts by their numbers, as far as the data set has them."""
        name = "tasks.jsonl" if self.version in _BY_EPISODE else "tasks.parquet"
        file = self.folder / "meta" / name
        rows = _lines(file) if file.is_file() else []
        # Where pandas wrote the text as an unnamed index, its column is called like that.
        return {
            number: str(row.get("task", row.get("__index_level_0__", "")))
            for number, row in self._listed(rows, "task_index")
        }

    def data_file(self, said: Mapping[str, object]) -> Path:
        """Return the file of an episode's rows."""
        return self._path("data_path", said, "data")

    def part(self, key: str, said: Mapping[str, object]) -> Part:
        """Return where an episode's frames of a camera lie."""
        prefix = f"videos/{key}"
        video = self._path("video_path", said, prefix, video_key=key)
        if self.version in _BY_EPISODE:
            return Part(video)
        begin, end = (said.get(f"{prefix}/{name}_timestamp") for name in ("from", "to"))
        if not isinstance(begin, float) or not isinstance(end, float):
            raise DataError(f"{self}: meta/episodes do not say where {key} begins and ends")
        return Part(video, begin, end)

    def _path(self, name: str, said: Mapping[str, object], prefix: str, **values: object) -> Path:
        template = self._text(name)
        number = int(str(said[EPISODE_INDEX]))
        values["episode_index"] = number
        if self.version in _BY_EPISODE:
            values["episode_chunk"] = number // int(self._number("chunks_size"))
            values["total_episodes"] = self._info.get("total_episodes")
        else:
            values |= {each: said.get(f"{prefix}/{each}") for each in ("chunk_index", "file_index")}
        try:
            path = Path(os.path.normpath(template.format(**values)))
            # Not resolved: a cache of data sets holds links to files elsewhere.
            if path.is_absolute() or path.parts[0] == "..":
                raise ValueError("it leads out of the data set")
            return self.folder / path
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{self.info_file}: {name} {template!r} does not fit episode {number} ({error!r})"
            ) from error

    def _listed_episodes(self) -> list[dict[str, object]]:
        meta = self.folder / "meta"
        if self.version in _BY_EPISODE:
            return _lines(meta / "episodes.jsonl")
        files = sorted((meta / "episodes").glob("*/*.parquet"))
        return [row for file in files for row in _lines(file)]

    def _listed(
        self, rows: Iterable[dict[str, object]], index: str
    ) -> Iterator[tuple[int, dict[str, object]]]:
        for row in rows:
            number = row.get(index)
            if not isinstance(number, int):
                raise DataError(f"{self}: a row of meta has {index} {number!r}, expected a number")
            yield number, row

    def _text(self, name: str) -> str:
        if not isinstance(text := self._info.get(name), str):
            raise DataError(f"{self.info_file}: {name} is {text!r}, expected a text")
        return text

    def _number(self, name: str) -> float:
        value = self._info.get(name)
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise DataError(f"{self.info_file}: {name} is {value!r}, expected a positive number")
        return value


def _json(text: str, where: Path) -> dict[str, object]:
    try:
        read = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}") from error
    if not isinstance(read, dict):
        raise DataError(f"{where}: expected a JSON object")
    return read


def _lines(file: Path) -> list[dict[str, object]]:
    """Return the rows of a Parquet or JSON lines file."""
    if file.suffix == ".parquet":
        columns = read_columns(file)
        rows = zip(*columns.values(), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]
    if not file.is_file():
        raise DataError(f"{file} is not there")
    return [_json(line, file) for line in file.read_text().splitlines() if line.strip()]
