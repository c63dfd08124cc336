"""Components are built by signature: what the YAML says is checked against the constructor."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import TypeVar, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from trainer.config_tree import dotted
from trainer.errors import ConfigError, nearest
from trainer.explain import explain
from trainer.registry import Registry, UnknownComponentError
from trainer.schema import ComponentSpec

Base = TypeVar("Base")


def build(
    registry: Registry[Base],
    spec: ComponentSpec,
    where: Callable[..., str] | str,
    supplied: Mapping[str, object] | None = None,
) -> Base:
    """Return an instance of the registered component that ``spec`` names.

    Raises:
        ConfigError: See ``check_spec``; or the constructor raises ValueError.
    """
    component, arguments = check_spec(registry, spec, where, supplied)
    try:
        return component(**arguments)
    except ValueError as error:
        at = _text_location(where) if isinstance(where, str) else where
        raise ConfigError(f"{at('params')}: {spec.type}: {error}") from error


def check_spec(
    registry: Registry[Base],
    spec: ComponentSpec,
    where: Callable[..., str] | str,
    supplied: Mapping[str, object] | None = None,
) -> tuple[type[Base], dict[str, object]]:
    """Return the registered component that ``spec`` names, and the arguments to build it with.

    Args:
        registry: Where ``spec.type`` is looked up.
        spec: The key, and the keyword arguments of the constructor.
        where: Gives the beginning of a message about a path below the spec, such as
            ``where("params", "lr")``: ``Loaded.at``, or ``Loaded.under`` with the spec's own
            path. A text stands for a spec that no YAML of the user holds.
        supplied: What the caller has to give; only what the constructor asks for is passed.

    Raises:
        ConfigError: With a line for each unknown, missing or ill-typed parameter.
    """
    at = _text_location(where) if isinstance(where, str) else where
    try:
        component = registry.get(spec.type)
    except UnknownComponentError as error:
        raise UnknownComponentError(f"{at('type')}: {error}") from error
    return component, _checked_arguments(component, spec, at, supplied or {})


def _text_location(text: str) -> Callable[..., str]:
    def at(*path: str | int) -> str:
        return dotted((text, *path))

    return at


def _checked_arguments(
    component: type, spec: ComponentSpec, at: Callable[..., str], supplied: Mapping[str, object]
) -> dict[str, object]:
    """Return the keyword arguments; raise ConfigError with all that is wrong with the params."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(component).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    arguments = {name: value for name, value in supplied.items() if name in parameters}
    accepted = [name for name in parameters if name not in supplied]
    hints = type_hints(component)
    problems: list[str] = []
    for name, value in spec.params.items():
        if name in accepted:
            arguments[name] = _checked(value, hints.get(name, object), at, name, problems)
        else:
            problems.append(
                f"{at('params', name)}: {_unknown(name, spec.type, accepted, supplied)}"
            )
    for name in accepted:
        if parameters[name].default is inspect.Parameter.empty and name not in spec.params:
            problems.append(f"{at('params', name)}: required by {spec.type}, but missing")
    if problems:
        raise ConfigError("\n".join(problems))
    return arguments


def _unknown(name: str, key: str, accepted: list[str], supplied: Mapping[str, object]) -> str:
    if name in supplied:
        return f"given to {key} by the program; remove it"
    listing = ", ".join(accepted) or "nothing"
    return f"unknown parameter of {key}{nearest(name, accepted)}; accepted: {listing}"


def _checked(
    value: object, annotation: object, at: Callable[..., str], name: str, problems: list[str]
) -> object:
    """Return ``value`` as the annotated type (a list as a tuple, …), or add to ``problems``."""
    try:
        adapter: TypeAdapter[object] = TypeAdapter(annotation)  # type: ignore[arg-type]
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        found = explain(error, value, annotation)
        problems.extend(f"{at('params', name, *path)}: {found[path]}" for path in found)
    except PydanticUserError:
        problems.append(f"{at('params', name)}: a value of this type cannot be written in YAML")
    return None


def type_hints(component: type) -> dict[str, object]:
    """Return the annotations of a constructor's parameters, ``Annotated`` ones whole.

    Raises:
        ConfigError: An annotation names what its module does not know when it runs.
    """
    try:
        return get_type_hints(component.__init__, include_extras=True)
    except NameError as error:
        where = f"{component.__module__}.{component.__qualname__}"
        raise ConfigError(
            f"{where}: {error} in a constructor annotation; import it outside TYPE_CHECKING"
        ) from error
