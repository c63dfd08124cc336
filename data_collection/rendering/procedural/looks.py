"""What the words of a prompt look like: surfaces of objects, ground and walls, and the light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from data_collection.rendering.generators import Prompt
from data_collection.rendering.procedural.textures import TextureName
from data_collection.rendering.procedural.vocabulary import (
    Colour,
    Finish,
    Kind,
    Light,
    Material,
    vocabulary,
)
from trainer.seeding import stream_seed


@dataclass(frozen=True)
class Surface:
    """What something looks like, light and shadow aside."""

    material: Material
    colours: tuple[Colour, ...] = ()
    """Named colours, in the place of the material's own."""
    pattern: TextureName | None = None
    finish: Finish | None = None
    gloss: float | None = None


@dataclass(frozen=True)
class Look:
    """What a whole picture looks like."""

    objects: tuple[Surface, ...]
    """Each object takes one of them."""
    ground: Surface
    """What faces upwards of the background."""
    wall: Surface
    light: Light


def look_of(prompt: Prompt) -> Look:
    """Return what a prompt looks like; the same prompt always looks the same.

    What known words leave open follows from the whole text, so that unknown words have an effect,
    if no meaning.
    """
    front, back = _Reading(prompt.foreground), _Reading(prompt.background)
    objects = front.surfaces or [front.drawn_surface(0), front.drawn_surface(1)]
    ground, wall, *_ = [*back.surfaces, *back.place_surfaces(), *back.drawn_pair()]
    light = next(iter([*back.lights, *front.lights]), None) or back.drawn_light()
    return Look(tuple(objects), ground, wall, light)


@dataclass
class _Said:
    """What adjectives have said of the noun that is still to come."""

    colours: list[Colour] = field(default_factory=list)
    pattern: TextureName | None = None
    finish: Finish | None = None
    gloss: float | None = None

    @property
    def is_empty(self) -> bool:
        return not self.colours and (self.pattern, self.finish, self.gloss) == (None, None, None)


class _Reading:
    """What the known words of one half of a prompt say, and what its text leads to."""

    def __init__(self, text: str) -> None:
        self._words = vocabulary()
        self.surfaces: list[Surface] = []
        self.lights: list[Light] = []
        self.places: list[tuple[str, str]] = []
        self._said = _Said()
        for word in self._words.words(text):
            found = self._words.find(word)
            if found is not None:
                self._take(*found)
        self._seed = stream_seed(0, text)
        if not self._said.is_empty:
            self._late_adjectives()

    def place_surfaces(self) -> list[Surface]:
        """Return what the ground and walls of the first place named are made of."""
        return [self._plain(name) for pair in self.places[:1] for name in pair]

    def drawn_pair(self) -> list[Surface]:
        """Return a ground and a wall that follow from the text."""
        return [self.drawn_surface(0), self.drawn_surface(1)]

    def drawn_surface(self, number: int) -> Surface:
        """Return a surface that follows from the text."""
        generator = self._generator("surface", number)
        material = _one_of(sorted(self._words.materials), generator)
        surface = self._plain(material)
        if generator.random() < 0.5:
            colour = _one_of(sorted(self._words.colours), generator)
            surface = replace(surface, colours=(self._words.colours[colour],))
        return surface

    def drawn_light(self) -> Light:
        """Return a light that follows from the text."""
        generator = self._generator("light", 0)
        return self._words.lights[_one_of(sorted(self._words.lights), generator)]

    def _generator(self, name: str, number: int) -> np.random.Generator:
        return np.random.default_rng(stream_seed(self._seed, name, number))

    def _plain(self, material: str) -> Surface:
        return Surface(self._words.materials[material])

    def _take(self, kind: Kind, word: str) -> None:
        words, said = self._words, self._said
        if kind == "colour":
            said.colours.append(words.colours[word])
        elif kind == "pattern":
            said.pattern = words.patterns[word]
        elif kind == "finish":
            said.finish = words.finishes[word]
        elif kind == "gloss":
            said.gloss = words.gloss[word]
        elif kind == "material":
            self._add(words.materials[word])
        elif kind == "light":
            self.lights.append(words.lights[word])
        else:
            self.places.append(words.places[word])

    def _add(self, material: Material) -> None:
        said = self._said
        self.surfaces.append(
            Surface(material, tuple(said.colours), said.pattern, said.finish, said.gloss)
        )
        self._said = _Said()

    def _late_adjectives(self) -> None:
        """Give adjectives that no material follows to a material that is not named."""
        said = self._said
        if self.surfaces and not said.colours:
            last = self.surfaces[-1]
            self.surfaces[-1] = replace(
                last,
                pattern=said.pattern or last.pattern,
                finish=said.finish or last.finish,
                gloss=said.gloss if last.gloss is None else last.gloss,
            )
            return
        self._add(self._words.materials["paint" if said.colours else "plaster"])


def _one_of(names: Sequence[str], generator: np.random.Generator) -> str:
    return names[int(generator.integers(len(names)))]
