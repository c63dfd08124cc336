"""Prompt collections: JSON lines, one prompt a line, drawn by seed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat, StringConstraints, ValidationError

from data_collection.rendering.generators import Prompt
from trainer.errors import ConfigError
from trainer.explain import explain
from trainer.schema import Strict
from trainer.yaml_file import missing_file, shown

_Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Line(Strict):
    """One line of a collection."""

    foreground: _Words
    """The objects and the robot."""
    background: _Words
    """All that is around them, and the light."""
    weight: Annotated[PositiveFloat, Field(allow_inf_nan=False)] = 1.0
    """How often it is drawn, relative to the others."""


@dataclass(frozen=True, eq=False)
class PromptCollection:
    """Prompts, and how often each is drawn."""

    prompts: tuple[Prompt, ...]
    probabilities: np.ndarray
    """(len(prompts),), their sum is 1."""
    sha256: str
    """Of the file."""

    def draw(self, seed: int) -> Prompt:
        """Return the prompt that belongs to a seed."""
        generator = np.random.default_rng(seed)
        return self.prompts[int(generator.choice(len(self.prompts), p=self.probabilities))]


def load_prompts(path: Path) -> PromptCollection:
    """Return the collection in a file; empty lines in it are skipped.

    Raises:
        ConfigError: The file is missing or empty, or lines are wrong: all of them are named.
    """
    if not path.is_file():
        raise ConfigError(missing_file(path))
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{shown(path)}:{number}: expected UTF-8, {error.reason}") from error
    lines: dict[int, _Line] = {}
    problems: list[str] = []
    first_with: dict[Prompt, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            lines[number] = parsed = _parse(line)
        except ValueError as error:
            problems.append(f"{shown(path)}:{number}: {error}")
            continue
        earlier = first_with.setdefault(_prompt(parsed), number)
        if earlier != number:
            problems.append(
                f"{shown(path)}:{number}: the same as line {earlier}; raise the weight there"
            )
    if problems:
        raise ConfigError("\n".join(problems))
    if not lines:
        raise ConfigError(f"{shown(path)}: holds no prompt")
    weights = np.array([line.weight for line in lines.values()])
    prompts = tuple(map(_prompt, lines.values()))
    return PromptCollection(prompts, weights / weights.sum(), hashlib.sha256(content).hexdigest())


def _prompt(line: _Line) -> Prompt:
    return Prompt(line.foreground, line.background)


def _parse(line: str) -> _Line:
    """Return what a line says; raise ValueError with all that is wrong with it."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at column {error.colno}") from error
    try:
        return _Line.model_validate_json(line, strict=True)
    except ValidationError as error:
        found = explain(error, value, _Line)
        wrong = (f"{'.'.join(map(str, path))}: {found[path]}".lstrip(": ") for path in found)
        raise ValueError("; ".join(wrong)) from error
