"""Pydantic's findings in the words of someone who edits YAML."""

from __future__ import annotations

import json
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trainer.config_tree import ABSENT, YamlPath, child, lookup
from trainer.errors import nearest

_WORDS = {
    "Input should be a valid boolean": "expected true or false",
    "Input should be a valid string": "expected text",
    "Input should be a valid integer": "expected an integer",
    "Input should be a valid number": "expected a number",
    "Input should be a valid array": "expected a list",
    "Input should be an object": "expected a mapping",
    "Input should be a valid object": "expected a mapping",
    "Input should be a valid dictionary": "expected a mapping",
    "Input should be greater": "expected a value greater",
    "Input should be less": "expected a value less",
    "Input should be": "expected",
}
_LONGEST_VALUE = 60


def explain(error: ValidationError, value: object, annotation: object) -> dict[YamlPath, str]:
    """Return one message for each wrong place in ``value``, which should have been ``annotation``.

    The alternatives of a union give several findings for one place: they are joined, unless one
    alternative was tried deep enough to complain about something inside the place.
    """
    found: dict[YamlPath, list[str]] = {}
    for detail in error.errors(include_url=False):
        path = _path_in(value, detail)
        found.setdefault(path, []).append(_message(detail, path, annotation))
    inner = {path[:n] for path in found for n in range(len(path))}
    return {
        path: " or ".join(dict.fromkeys(messages)).replace("or expected ", "or ")
        + _got(value, path, messages)
        for path, messages in found.items()
        if path not in inner
    }


def _path_in(value: object, detail: ErrorDetails) -> YamlPath:
    """Return the finding's location without the names that pydantic gives to union members."""
    path: list[str | int] = []
    for part in detail["loc"]:
        below = child(value, part)
        if below is not ABSENT:
            value = below
        elif detail["type"] != "missing" or part is not detail["loc"][-1]:
            continue
        path.append(part)
    return tuple(path)


def _message(detail: ErrorDetails, path: YamlPath, annotation: object) -> str:
    if detail["type"] == "extra_forbidden":
        known = sorted(_accepted(annotation, path[:-1]))
        return f"unknown key{nearest(str(path[-1]), known)}; accepted: {', '.join(known)}"
    if detail["type"] == "missing":
        return "required, but missing"
    message = detail["msg"].removeprefix("Value error, ")
    for pydantics, ours in _WORDS.items():
        if message.startswith(pydantics):
            return ours + message.removeprefix(pydantics)
    return message


def _got(value: object, path: YamlPath, messages: list[str]) -> str:
    if not messages[0].startswith("expected"):
        return ""
    text = json.dumps(lookup(value, path), ensure_ascii=False)
    return f", got {text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + '…'}"


def _accepted(annotation: object, path: YamlPath) -> set[str]:
    """Return the keys that a value of this type accepts at ``path``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            return set(annotation.model_fields)
        field = annotation.model_fields.get(str(path[0]))
        return _accepted(field.annotation, path[1:]) if field else set()
    members = get_args(annotation)
    if path and get_origin(annotation) in (list, tuple, dict):
        members, path = members[-1:], path[1:]
    return set().union(*(_accepted(member, path) for member in members))
