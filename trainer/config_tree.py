"""Plain nested data, paths into it, and marks: where each value was written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from trainer.errors import ConfigError

YamlPath = tuple[str | int, ...]
"""Where a value sits: ``("data", "rounds", 3)`` is ``data.rounds[3]``."""

Tree = dict[str, object]
"""What YAML can hold below text keys: dict, list, str, int, float, bool and None."""

_OPEN = "???"
"""OmegaConf's mark of a value that each run must give."""

ABSENT = object()
"""What ``child`` and ``lookup`` return where there is no value (None is a value)."""


class Mark(NamedTuple):
    """A place that a user can look up: a file and its line, or an override on the command line."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        """Return ``file:line``, or the source alone where lines mean nothing."""
        return f"{self.source}:{self.line}" if self.line else self.source


Marks = dict[YamlPath, Mark]


def dotted(path: YamlPath) -> str:
    """Return a path the way people write it: ``data.rounds[3].weight``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def parse_key(key: str) -> YamlPath:
    """Return the path of a dotted key; only ``[n]`` becomes a number."""
    parts = re.findall(r"\[(\d+)\]|([^.\[\]]+)", key)
    return tuple(int(index) if index else name for index, name in parts)


def child(tree: object, part: str | int) -> object:
    """Return what lies directly below ``tree``, or ``ABSENT``."""
    if isinstance(tree, dict):
        return tree.get(part, ABSENT)
    if isinstance(tree, list) and isinstance(part, int) and part < len(tree):
        return tree[part]
    return ABSENT


def lookup(tree: object, path: YamlPath) -> object:
    """Return the value at ``path``, or ``ABSENT``."""
    for part in path:
        tree = child(tree, part)
    return tree


def leaves(tree: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return the JSON text of every value that is not a section, by dotted key."""
    found: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value)
    return found


def flattened(tree: Mapping[str, object], prefix: str = "") -> Tree:
    """Return every value by dotted key; a component (with a ``type``) and an empty section stay."""
    found: Tree = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value and "type" not in value:
            found |= flattened(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def merged(base: Mapping[str, object], new: Mapping[str, object]) -> Tree:
    """Return ``new`` laid over ``base``; a component of another type brings its own params."""
    if "type" in new and new["type"] != base.get("type"):
        return dict(new)
    result = dict(base)
    for key, value in new.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def assign(tree: Tree, key: str, value: object) -> YamlPath:
    """Set the value at a dotted key in place, and return its path.

    Sections that do not exist are made; ``a[0]`` and ``a.0`` index an existing list.
    """
    node: object = tree
    path: YamlPath = ()
    *sections, last = parse_key(key)
    for part in sections:
        index = _own_index(node, part, path)
        if child(node, index) in (ABSENT, None):
            node[index] = {}  # type: ignore[index]
        node, path = child(node, index), (*path, index)
    index = _own_index(node, last, path)
    node[index] = value  # type: ignore[index]
    return (*path, index)


def _own_index(node: object, part: str | int, path: YamlPath) -> str | int:
    """Return the part of a key as this node is indexed; raise ConfigError when it cannot be."""
    if isinstance(node, dict):
        return str(part)
    if not isinstance(node, list):
        raise ConfigError(f"{dotted(path)} is {json.dumps(node)}, which holds no keys")
    if not str(part).isdecimal() or int(part) >= len(node):
        raise ConfigError(f"{dotted(path)} is a list of {len(node)}; it has no item {part}")
    return int(part)


def nearest_mark(marks: Marks, path: YamlPath) -> Mark:
    """Return the mark of the longest part of ``path`` that was written somewhere."""
    return next(marks[path[:n]] for n in range(len(path), -1, -1) if path[:n] in marks)


def marked(marks: Marks, path: YamlPath, mark: Mark) -> Marks:
    """Return the marks with ``path``, and all that was below it, attributed to ``mark``."""
    return {p: m for p, m in marks.items() if p[: len(path)] != path} | {path: mark}


def location(marks: Marks, path: YamlPath) -> str:
    """Return ``file:line: a.b[0]``, the beginning of a message about this value."""
    return ": ".join(filter(None, (str(nearest_mark(marks, path)), dotted(path))))


def refuse_open(tree: Tree, marks: Marks, key: Callable[[YamlPath], str]) -> None:
    """Raise ConfigError for each ``???`` in ``tree``; ``key`` is what ``--set`` calls a value."""
    lines = [
        f"{location(marks, path)}: required: give it in the YAML or with --set {key(path)}=…"
        for path in marks
        if lookup(tree, path) == _OPEN
    ]
    if lines:
        raise ConfigError("\n".join(lines))
