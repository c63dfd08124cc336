"""Plugins register components under a key; experiments name them by that key."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from trainer.errors import ConfigError, UserError, closest, nearest
from trainer.yaml_file import missing_file, shown

if TYPE_CHECKING:
    from torch import nn

    from trainer.interfaces import (
        ActionTransform,
        Augmentation,
        Dataset,
        Environment,
        Logger,
        Loss,
        OptimizerPlugin,
        Policy,
    )

Base = TypeVar("Base")
T = TypeVar("T")


class UnknownComponentError(ConfigError, KeyError):
    """A key that no loaded plugin has registered."""

    def __str__(self) -> str:
        """Return the message itself (KeyError would quote it)."""
        return str(self.args[0])


class Registry(Generic[Base]):
    """The components of one kind, by key.

    Args:
        kind: What they are called in messages.
        supplied: What the program gives to the constructors that ask for it; all their other
            parameters come from the YAML.
    """

    def __init__(self, kind: str, supplied: Sequence[str] = ()) -> None:
        self.kind = kind
        self.supplied = tuple(supplied)
        self._entries: dict[str, type[Base]] = {}

    def register(self, key: str) -> Callable[[type[T]], type[T]]:
        """Return a class decorator that registers under ``key``; raise when the key is taken."""

        def add(component: type[T]) -> type[T]:
            known = self._entries.get(key)
            if known is not None:
                raise ConfigError(
                    f"{self.kind} {key!r} is registered twice: by {_where(known)} and by "
                    f"{_where(component)}; rename one, or list only one of them in plugins"
                )
            self._entries[key] = component  # type: ignore[assignment]
            return component

        return add

    def get(self, key: str) -> type[Base]:
        """Return the class registered under ``key``; raise UnknownComponentError otherwise."""
        if key in self._entries:
            return self._entries[key]
        shipped = _not_loaded(self.kind)
        known = ", ".join(sorted(self._entries)) or "none"
        message = f"no {self.kind} named {key!r} (loaded: {known})"
        meant = key if key in shipped else closest(key, [*self._entries, *shipped])
        if meant is not None and meant != key:
            message += f" (did you mean {meant!r}?)"
        add = shipped.get(meant or "")
        question = f"add {add} to plugins" if add else "is its plugin listed in plugins?"
        raise UnknownComponentError(f"{message}; {question}")

    def keys(self) -> list[str]:
        """Return the registered keys, sorted."""
        return sorted(self._entries)


policies: Registry[Policy] = Registry("policy", ["components", "interface", "loss"])
models: Registry[nn.Module] = Registry("model", ["root"])
losses: Registry[Loss] = Registry("loss")
optimizers: Registry[OptimizerPlugin] = Registry("optimizer")
datasets: Registry[Dataset] = Registry("dataset", ["interface", "root"])
augmentations: Registry[Augmentation] = Registry("augmentation")
action_transforms: Registry[ActionTransform] = Registry("action transform")
loggers: Registry[Logger] = Registry("logger", ["save_dir", "start_step"])
environments: Registry[Environment] = Registry("environment", ["root"])

_REGISTERS = re.compile(r"\b(\w+)\.register\(\s*[\"']([^\"']+)[\"']\s*\)")
_PLUGIN_FOLDERS = ("components", "data_collection", "trainer/loggers")


def load_plugins(
    names: Sequence[str], root: Path, at: Callable[[int], str] = "plugins[{}]".format
) -> None:
    """Import modules so that they register their components; loading one twice is harmless.

    Args:
        names: Importable module names, or paths of ``.py`` files (relative to ``root``, or not).
        root: The project root.
        at: Gives the beginning of an error message about the i-th name.

    Raises:
        ConfigError: When a plugin is missing or does not import.
    """
    for i, name in enumerate(names):
        try:
            if name.endswith(".py"):
                _import_file(root / Path(name).expanduser())
            else:
                importlib.import_module(name)
        except UserError as error:
            raise ConfigError(f"{at(i)}: {error}") from error
        except Exception as error:  # a plugin may fail in any way; the message carries the cause
            raise ConfigError(f"{at(i)}: {_why_not_imported(name, error)}") from error


def _import_file(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(missing_file(path))
    file = str(path.resolve())
    if any(getattr(module, "__file__", None) == file for module in list(sys.modules.values())):
        return
    name = f"plugin_{path.stem}_{hashlib.sha256(file.encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _why_not_imported(name: str, error: Exception) -> str:
    """Return what is wrong with a plugin: absent itself, or broken at some line."""
    if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
        return f"no module {name!r}{nearest(name, _tree_modules())}"
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")
    ]
    at = "" if isinstance(error, SyntaxError) else f" ({frames[-1].filename}:{frames[-1].lineno})"
    return f"plugin {name!r} does not import: {type(error).__name__}: {error}{at}"


@dataclass(frozen=True)
class Shipped:
    """A component of this project: the registry's name in the code, its key, and its module."""

    registry: str
    key: str
    module: str


def shipped_components() -> Iterator[Shipped]:
    """Yield what the modules of this project register, from their text: nothing is imported."""
    for module, file in _tree_modules().items():
        for registry, key in _REGISTERS.findall(file.read_text(encoding="utf-8")):
            yield Shipped(registry, key, module)


def _not_loaded(kind: str) -> dict[str, str]:
    """Return the module by key of each shipped component of this kind that is not loaded yet."""
    stem = kind[:-1].replace(" ", "_")  # "policy" is registered through "policies"
    return {
        each.key: each.module
        for each in shipped_components()
        if each.registry.startswith(stem) and each.module not in sys.modules
    }


def _tree_modules() -> dict[str, Path]:
    """Return the file of every module of this project that could be a plugin."""
    root = Path(__file__).resolve().parents[1]
    files = [
        file for folder in _PLUGIN_FOLDERS for file in sorted((root / folder).rglob("[!_]*.py"))
    ]
    return {".".join(file.relative_to(root).with_suffix("").parts): file for file in files}


def _where(component: type) -> str:
    file = getattr(sys.modules.get(component.__module__), "__file__", None)
    return f"{component.__qualname__} in {shown(Path(file)) if file else component.__module__}"
