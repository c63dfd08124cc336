"""From YAML files to a validated, frozen configuration whose every value knows its line.

The way of a value: the files under ``defaults``, the file itself, ``--set`` overrides, implicit
values, ``${…}`` interpolation, validation. A later one replaces an earlier one; sections merge key
by key, lists replace as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from trainer.config_tree import (
    ABSENT,
    Mark,
    Marks,
    Tree,
    YamlPath,
    assign,
    dotted,
    leaves,
    location,
    lookup,
    marked,
    merged,
    nearest_mark,
    parse_key,
    refuse_open,
)
from trainer.errors import ConfigError, nearest
from trainer.explain import explain
from trainer.schema import ComponentSpec, ExperimentConfig
from trainer.yaml_file import inline_yaml, missing_file, parse_yaml, read_yaml, shown

S = TypeVar("S", bound=BaseModel, covariant=True)

EXPERIMENTS = "experiment_training"
"""The folder that holds experiment YAMLs; its parent is the project root."""

ROOT = "root"
"""Key of generated files, which lie anywhere: the project root that they were generated for."""


@dataclass(frozen=True)
class Loaded(Generic[S]):
    """A validated configuration, the plain dictionary to save, and where each value came from."""

    config: S
    resolved: Tree
    """Everything that decides the run, the schema's own defaults included; valid input again."""
    root: Path
    """The project root, to which every path in the YAML is relative."""
    marks: Marks

    def where(self, path: YamlPath) -> str:
        """Return ``file:line`` of a value, or of the nearest section around a missing one."""
        return str(nearest_mark(self.marks, path))

    def at(self, *path: str | int) -> str:
        """Return ``file:line: a.b[0]``, the beginning of a message about this value."""
        return location(self.marks, path)

    def under(self, *prefix: str | int) -> Callable[..., str]:
        """Return ``at`` for paths below ``prefix``."""
        return partial(self.at, *prefix)


Experiment = Loaded[ExperimentConfig]
"""One experiment as it was read."""


def load_config(
    path: Path | str,
    schema: type[S],
    overrides: Sequence[str] = (),
    implicit: Mapping[str, object] | None = None,
) -> Loaded[S]:
    """Return the configuration in a YAML file.

    Args:
        path: The file.
        schema: What it must be; every wrong key and value is reported at once.
        overrides: ``a.b=value`` (``--set``), values in YAML; ``a[0]`` and ``a.0`` index a list.
        implicit: Values by dotted key for what neither the files nor the overrides give, where
            the section itself exists.

    Raises:
        ConfigError: With one line for each problem: file, line, key, what was expected.
    """
    file = Path(path).expanduser().resolve()
    root = project_root(file)
    tree, marks = _read_with_defaults(file, root, ())
    if ROOT not in schema.model_fields:
        root = _written_root(tree, marks) or root
    for override in overrides:
        marks = _overridden(tree, marks, override)
    for key, value in (implicit or {}).items():
        *section, last = parse_key(key)
        existing = lookup(tree, tuple(section))
        if isinstance(existing, dict):
            existing.setdefault(last, value)
    refuse_open(tree, marks, dotted)
    if "experiment" in tree:
        raise ConfigError(
            f"{location(marks, ('experiment',))}: unknown key; ${{experiment}} is the folder's name"
        )
    tree = _interpolated({"experiment": _experiment_name(file), **tree}, marks)
    del tree["experiment"]
    config = _validated(schema, tree, marks)
    return Loaded(config, config.model_dump(mode="json"), root, marks)


def load_component_config(loaded: Experiment, name: str, path: str) -> Loaded[ComponentSpec]:
    """Return the ``{type, params}`` file of the model component ``name``.

    ``${interface.chunk}`` and the like refer to the experiment ``loaded``, whose
    ``model.component_build_args`` for this component replace or add parameters.
    """
    file = (loaded.root / Path(path).expanduser()).resolve()
    if not file.is_file():
        at = loaded.at("model", "component_config_paths", name)
        raise ConfigError(f"{at}: {missing_file(file)}")
    tree, marks = _read_with_defaults(file, loaded.root, ())
    build_args = loaded.config.model.component_build_args.get(name, {})
    for key, value in build_args.items():
        tree = merged(tree, {"params": {key: value}})
        written = nearest_mark(loaded.marks, ("model", "component_build_args", name, key))
        marks = marked(marks, ("params", key), written)
    build_arg = f"model.component_build_args.{name}."
    refuse_open(tree, marks, lambda path: build_arg + dotted(path[1:]))
    resolved = _interpolated({**loaded.resolved, **tree}, marks)
    config = _validated(ComponentSpec, {key: resolved[key] for key in tree}, marks)
    return Loaded(config, config.model_dump(mode="json"), loaded.root, marks)


def project_root(file: Path) -> Path:
    """Return the parent of the ``experiment_training`` folder above a file, else the current."""
    folders = (folder for folder in file.absolute().parents if folder.name == EXPERIMENTS)
    return next((folder.parent for folder in folders), Path.cwd())


def _written_root(tree: Tree, marks: Marks) -> Path | None:
    """Return the project root that a file names, taken out of its tree, where this machine has it.

    None without one: no file needs it that lies below ``experiment_training``.
    """
    written = tree.pop(ROOT, None)
    if not isinstance(written, str | None):
        raise ConfigError(f"{location(marks, (ROOT,))}: expected text, got {json.dumps(written)}")
    return Path(written) if written and Path(written).is_dir() else None


def as_overrides(settings: Mapping[str, object]) -> list[str]:
    """Return values by dotted key as ``--set`` takes them."""
    return [f"{key}={inline_yaml(value)}" for key, value in settings.items()]


def config_differences(
    saved: Mapping[str, object], current: Mapping[str, object], ignore: Collection[str] = ()
) -> list[str]:
    """Return ``train.lr: saved 0.001, now 0.0001`` for each difference between two configurations.

    Keys in ``ignore`` (dotted) and everything below them do not count.
    """
    old, new = leaves(saved), leaves(current)
    lines = []
    for key in sorted(old.keys() | new.keys()):
        ignored = any(key == prefix or key.startswith(f"{prefix}.") for prefix in ignore)
        before, now = old.get(key, "nothing"), new.get(key, "nothing")
        if before != now and not ignored:
            lines.append(f"{key}: saved {before}, now {now}")
    return lines


def _read_with_defaults(
    file: Path, root: Path, included_by: tuple[Path, ...]
) -> tuple[Tree, Marks]:
    """Return a file laid over the files under its ``defaults``, and the marks of what remains."""
    if file in included_by:
        circle = " -> ".join(shown(path) for path in (*included_by, file))
        raise ConfigError(f"defaults go in a circle: {circle}")
    own, own_marks = read_yaml(file)
    included = own.pop("defaults", [])
    if not isinstance(included, list) or not all(isinstance(name, str) for name in included):
        raise ConfigError(f"{location(own_marks, ('defaults',))}: expected a list of files")
    tree: Tree = {}
    marks: Marks = {}
    for i, name in enumerate(included):
        base_file = (root / Path(name).expanduser()).resolve()
        if not base_file.is_file():
            at = location(own_marks, ("defaults", i))
            raise ConfigError(f"{at}: {missing_file(base_file)}")
        base, base_marks = _read_with_defaults(base_file, root, (*included_by, file))
        tree, marks = merged(tree, base), marks | base_marks
    tree, marks = merged(tree, own), marks | own_marks
    return tree, {path: mark for path, mark in marks.items() if lookup(tree, path) is not ABSENT}


def _overridden(tree: Tree, marks: Marks, override: str) -> Marks:
    """Set one ``a.b=value`` in ``tree``; return the marks with the override as its source."""
    key, equals, text = override.partition("=")
    # Without the value, which may hold what nobody should read in a log; a key has no colon.
    source = f"--set {key.partition(':')[0]}"
    if not equals or not parse_key(key):
        raise ConfigError(f"{source}: expected key=value, for instance train.epochs=10")
    value, _ = parse_yaml(text, source)
    try:
        path = assign(tree, key, value)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    return marked(marks, path, Mark(source))


def _interpolated(tree: Tree, marks: Marks) -> Tree:
    """Return the tree with every ``${a.b}`` replaced by the value it refers to."""
    try:
        resolved = OmegaConf.to_container(OmegaConf.create(tree), resolve=True)
    except OmegaConfBaseException as error:
        message = str(error).splitlines()[0]
        if isinstance(error, InterpolationKeyError):
            message += nearest(message.split("'")[1], leaves(tree))
        path = parse_key(error.full_key or "")
        raise ConfigError(f"{location(marks, path)}: {message}") from error
    return cast(Tree, resolved)


def _validated(schema: type[S], tree: Tree, marks: Marks) -> S:
    try:
        return schema.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        problems = explain(error, tree, schema)
        in_file_order = sorted(problems, key=lambda path: (*nearest_mark(marks, path), str(path)))
        lines = [f"{location(marks, path)}: {problems[path]}" for path in in_file_order]
        raise ConfigError("\n".join(lines)) from error


def _experiment_name(file: Path) -> str:
    """Return ``<policy>/expN`` from where the file lies, or the file's own name elsewhere."""
    folder = project_root(file) / EXPERIMENTS
    below = file.parent.relative_to(folder).parts if file.is_relative_to(folder) else ()
    return "/".join(below[1:]) or file.stem
