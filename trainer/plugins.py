"""List the plugins that this project ships, and what their constructors take.

python -m trainer.plugins                   every kind, and the keys registered under it
python -m trainer.plugins policies          one kind, with parameters
python -m trainer.plugins policies act      one plugin
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from trainer.cli import run_command
from trainer.errors import ConfigError, nearest
from trainer.registry import Registry, Shipped, load_plugins, shipped_components
from trainer.signature import type_hints

_ROOT = Path(__file__).resolve().parents[1]
_BOUNDS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("min_length", "length >="))


def main(arguments: Sequence[str]) -> int:
    """Print what was asked for and return the exit code."""
    args = _parser().parse_args(arguments)
    by_kind: dict[str, list[Shipped]] = {}
    for each in shipped_components():
        by_kind.setdefault(each.registry, []).append(each)
    if args.kind is None:
        lines = [
            f"{kind:<21}{', '.join(sorted(each.key for each in by_kind[kind]))}"
            for kind in sorted(by_kind)
        ]
    else:
        chosen = _named(by_kind, args.kind, "kind of plugin")
        if args.name is not None:
            by_key = {each.key: [each] for each in chosen}
            chosen = _named(by_key, args.name, f"plugin among {args.kind}")
        lines = [line for each in chosen for line in [*_described(each), ""]][:-1]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _named(known: dict[str, list[Shipped]], name: str, what: str) -> list[Shipped]:
    if name not in known:
        listing = ", ".join(sorted(known))
        raise ConfigError(f"no {what} named {name!r}{nearest(name, known)}; there are {listing}")
    return known[name]


def _described(shipped: Shipped) -> Iterator[str]:
    """Yield the lines about one plugin; those of an absent extra say so."""
    yield f"{shipped.key}  ({shipped.module})"
    try:
        load_plugins([shipped.module], _ROOT, lambda _: "not to be had here")
    except ConfigError as error:
        yield f"    {error}"
        return
    registry: Registry[object] = getattr(sys.modules[shipped.module], shipped.registry)
    component = registry.get(shipped.key)
    yield f"    {(inspect.getdoc(component) or '').splitlines()[0]}"
    hints = type_hints(component)
    for name, parameter in inspect.signature(component).parameters.items():
        if name in registry.supplied:
            yield f"    {name}: given by the program"
        else:
            hint, default = hints.get(name, object), parameter.default
            yield from _parameter(name, hint, default, required=default is parameter.empty)


def _parameter(name: str, hint: object, default: object, *, required: bool) -> Iterator[str]:
    """Yield the line about a parameter; of one with keys of its own, a line for each key."""
    prefix, section = _section(name, hint) or ("", None)
    if section is not hint:
        written = "required" if required else f"default {_plain(default)}"
        yield f"    {name}: {type_text(hint)}, {written}"
    elif required:
        yield f"    {name}: required"
    for key, field in section.model_fields.items() if section else ():
        given = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            given = getattr(default, key)
        bounded = Annotated[field.annotation, *field.metadata] if field.metadata else None
        annotation = bounded or field.annotation
        missing = given is PydanticUndefined
        yield from _parameter(f"{prefix}.{key}", annotation, given, required=missing)


def _section(name: str, hint: object) -> tuple[str, type[BaseModel]] | None:
    """Return what a parameter's own keys begin with, and the model that they are those of."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return name, hint
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is dict:
        return _section(f"{name}.<name>", arguments[1])
    if origin in (Union, UnionType):
        return next(filter(None, (_section(name, each) for each in arguments)), None)
    return None


def type_text(hint: object) -> str:
    """Return an annotation in the words of someone who edits YAML, such as ``int > 0``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        metadata = [m for given in arguments[1:] for m in getattr(given, "metadata", [given])]
        bounds = [
            f"{sign} {getattr(each, name):g}"
            for each in metadata
            for name, sign in _BOUNDS
            if getattr(each, name, None) is not None
        ]
        return " ".join([type_text(arguments[0]), " and ".join(bounds)]).rstrip()
    if origin is Literal:
        return " | ".join(map(_plain, arguments))
    if origin in (Union, UnionType):
        return " | ".join(map(type_text, arguments))
    if hint is NoneType or hint is None:
        return "null"
    if origin is not None and arguments:
        inner = ", ".join("…" if each is ... else type_text(each) for each in arguments)
        return f"{getattr(origin, '__name__', origin)}[{inner}]"
    return getattr(hint, "__name__", str(hint))


def _plain(value: object) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return value if isinstance(value, str) and value else json.dumps(value, default=str)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.plugins",
        description="List the plugins that this project ships, and what their constructors take: "
        "the params of a {type, params}.",
        epilog="examples: python -m trainer.plugins policies    "
        "python -m trainer.plugins models state_encoder",
    )
    parser.add_argument("kind", nargs="?", metavar="KIND", help="such as policies or teachers")
    parser.add_argument("name", nargs="?", metavar="NAME", help="one key of that kind")
    return parser


if __name__ == "__main__":
    run_command(main)
