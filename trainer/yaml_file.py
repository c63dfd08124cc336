"""YAML as plain data that remembers where each value was written.

The core schema of YAML 1.2: ``1e-3`` is a number, ``no`` is text. Tags that would build objects are
refused, and so are duplicate keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from trainer.config_tree import Mark, Marks, Tree, YamlPath
from trainer.errors import ConfigError, nearest

_TAG = "tag:yaml.org,2002:"
_FLOAT = r"[-+]?(\.\d+|\d+\.\d*|\d+(?=[eE]))([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_SCALARS = {
    "null": (r"~|null|Null|NULL|", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (r"[-+]?(0|[1-9]\d*)", int),
    "float": (_FLOAT, lambda text: float(re.sub(r"\.(?=[iInN])", "", text))),
    "str": (None, str),
}


class _CoreLoader(yaml.SafeLoader):
    """Resolves untagged scalars by the core schema alone."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own way to configure a loader


class _CoreDumper(yaml.SafeDumper):
    """Quotes exactly the text that ``_CoreLoader`` would read as something else."""

    yaml_implicit_resolvers = {}  # noqa: RUF012


for _name, (_pattern, _) in _SCALARS.items():
    if _pattern is not None:
        for _class in (_CoreLoader, _CoreDumper):
            _class.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), None)


def shown(path: Path) -> str:
    """Return the path relative to the current directory when it lies inside it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path)


def missing_file(path: Path) -> str:
    """Return a message that names a missing file and what exists nearest to it."""
    absolute = path.absolute()
    folder = next(parent for parent in absolute.parents if parent.is_dir())
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    hint = nearest(absolute.relative_to(folder).parts[0], names)
    listing = ", ".join(names[:12]) or "nothing"
    return f"no file {shown(path)}{hint}; {shown(folder)} holds: {listing}"


def read_yaml(path: Path) -> tuple[Tree, Marks]:
    """Return a file's data and their marks.

    Raises:
        ConfigError: When the file is missing, malformed, or not a mapping (an empty one is not).
    """
    if not path.is_file():
        raise ConfigError(f"{missing_file(path)}; check the path")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{shown(path)}: cannot be read: {error}") from error
    value, marks = parse_yaml(text, shown(path))
    if not isinstance(value, dict):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        raise ConfigError(f"{shown(path)}: expected a mapping of keys to values, got {found}")
    return value, marks


def parse_yaml(text: str, source: str) -> tuple[object, Marks]:
    """Return the data in ``text`` and their marks; ``source`` names it there and in errors."""
    try:
        node = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise ConfigError(f"{source}{at}: malformed YAML: {what}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: malformed YAML: {error}") from error
    builder = _Builder(source)
    value = None if node is None else builder.build(node, (), ())
    return value, builder.marks


def from_yaml(text: str) -> Any:  # noqa: ANN401 - whatever was written
    """Return exactly what ``to_yaml`` was given. For files that this project writes itself.

    Raises:
        yaml.YAMLError: The text is damaged.
    """
    return yaml.load(text, Loader=_CoreLoader)  # noqa: S506 - a SafeLoader: no tag makes objects


def to_yaml(value: Mapping[str, object]) -> str:
    """Return plain data as text from which ``from_yaml`` gives back exactly ``value``."""
    return yaml.dump(dict(value), Dumper=_CoreDumper, sort_keys=False, allow_unicode=True)


def inline_yaml(value: object) -> str:
    """Return plain data as one line of YAML."""
    wide = 1 << 30  # or it would break lines
    listed = yaml.dump([value], Dumper=_CoreDumper, default_flow_style=True, width=wide)
    return listed.strip()[1:-1]  # alone, a scalar would be a document with an end mark


class _Builder:
    """Turns nodes into plain data and notes where each value was written."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.marks: Marks = {}

    def build(self, node: yaml.Node, path: YamlPath, inside: tuple[yaml.Node, ...]) -> object:
        """Return the data of a node; ``inside`` are the nodes around it."""
        self.marks.setdefault(path, self._mark(node))
        if any(node is outer for outer in inside):
            raise self._error(node, "an alias contains itself")
        inside = (*inside, node)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, path, inside)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.build(item, (*path, i), inside) for i, item in enumerate(node.value)]
        name = node.tag.removeprefix(_TAG)
        if not isinstance(node, yaml.ScalarNode) or name not in _SCALARS:
            raise self._error(node, f"tag {node.tag} is not allowed: YAML is data, never code")
        try:
            return _SCALARS[name][1](node.value)
        except ValueError as error:
            raise self._error(node, f"{node.value!r} is not of type {name}") from error

    def _mapping(
        self, node: yaml.MappingNode, path: YamlPath, inside: tuple[yaml.Node, ...]
    ) -> dict[str, object]:
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag != f"{_TAG}str":
                raise self._error(key_node, "a key must be text; put it in quotes")
            key = str(key_node.value)
            if key in result:
                first = self.marks[(*path, key)]
                raise self._error(key_node, f"key {key!r} is already given at {first}")
            self.marks[(*path, key)] = self._mark(key_node)
            result[key] = self.build(value_node, (*path, key), inside)
        return result

    def _mark(self, node: yaml.Node) -> Mark:
        return Mark(self.source, node.start_mark.line + 1)

    def _error(self, node: yaml.Node, message: str) -> ConfigError:
        mark = node.start_mark
        return ConfigError(f"{self.source}:{mark.line + 1}:{mark.column + 1}: {message}")
