"""The words that the procedural generator knows, as they stand in ``vocabulary.yaml``."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, NonNegativeFloat, PositiveFloat

from data_collection.rendering.procedural.textures import TextureName
from trainer.schema import Strict
from trainer.yaml_file import read_yaml

_FILE = Path(__file__).with_name("vocabulary.yaml")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")

T = TypeVar("T")

Channel = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]
Share = Annotated[float, Field(ge=0, le=1)]
Kind = Literal["colour", "material", "pattern", "finish", "gloss", "light", "place"]


class Material(Strict):
    """What a surface is made of."""

    texture: TextureName
    palette: Annotated[list[Colour], Field(min_length=2)]
    size: PositiveFloat
    """Of the texture's features, metres."""
    gloss: Share


class Finish(Strict):
    """What lies over a surface."""

    material: str
    amount: Share


class Light(Strict):
    """The light of a scene, and its air."""

    tint: Colour
    ambient: NonNegativeFloat
    key: NonNegativeFloat
    """Of the one lamp."""
    elevation: Annotated[float, Field(ge=0, le=90)]
    """Of that lamp, degrees."""
    haze: Colour
    density: NonNegativeFloat


class _File(Strict):
    colours: dict[str, Colour]
    materials: dict[str, Material]
    patterns: dict[str, TextureName]
    finishes: dict[str, Finish]
    gloss: dict[str, Share]
    lights: dict[str, Light]
    places: dict[str, tuple[str, str]]


class Vocabulary:
    """Every known word, by kind."""

    def __init__(self, file: Path = _FILE) -> None:
        content = _File.model_validate(read_yaml(file)[0], strict=False)
        self.colours = _by_word(content.colours)
        self.materials = _by_word(content.materials)
        self.patterns = _by_word(content.patterns)
        self.finishes = _by_word(content.finishes)
        self.gloss = _by_word(content.gloss)
        self.lights = _by_word(content.lights)
        self.places = _by_word(content.places)

    def find(self, word: str) -> tuple[Kind, str] | None:
        """Return what kind of word this is, and as what it is known; None when it is not."""
        kinds: list[tuple[Kind, Mapping[str, object]]] = [
            ("colour", self.colours),
            ("pattern", self.patterns),
            ("finish", self.finishes),
            ("gloss", self.gloss),
            ("material", self.materials),
            ("light", self.lights),
            ("place", self.places),
        ]
        for form in (word, word.removesuffix("s"), word.removesuffix("es")):
            for kind, words in kinds:
                if form in words:
                    return kind, form
        return None

    def words(self, text: str) -> Iterator[str]:
        """Yield the words of a text in lower case; a hyphenated one is whole only when known."""
        for word in _WORD.findall(text.lower()):
            if "-" in word and self.find(word) is None:
                yield from word.split("-")
            else:
                yield word


@functools.cache
def vocabulary() -> Vocabulary:
    """Return the words that come with the project."""
    return Vocabulary()


def _by_word(entries: Mapping[str, T]) -> dict[str, T]:
    """Return each meaning by each of the words that have it."""
    return {word: value for words, value in entries.items() for word in words.split(", ")}
