import numpy as np
import pytest

from data_collection.rendering.generators import Prompt
from data_collection.rendering.procedural.looks import look_of
from data_collection.rendering.procedural.textures import _TEXTURES, Noise, texture
from data_collection.rendering.procedural.vocabulary import vocabulary

WORDS = vocabulary()


def test_every_word_has_one_meaning():
    kinds = ["colours", "materials", "patterns", "finishes", "gloss", "lights", "places"]
    tables = {kind: set(getattr(WORDS, kind)) for kind in kinds}
    twice = {
        word: [kind for kind in kinds if word in tables[kind]]
        for word in set().union(*tables.values())
        if sum(word in table for table in tables.values()) > 1
    }
    assert twice == {}


def test_what_the_vocabulary_names_is_in_it():
    named = {finish.material for finish in WORDS.finishes.values()}
    named |= {material for pair in WORDS.places.values() for material in pair}
    assert named <= WORDS.materials.keys()


def test_words_are_found_in_any_form():
    assert WORDS.find("tiles") == ("material", "tiles")
    assert WORDS.find("mosaics") == ("material", "mosaic")
    assert WORDS.find("beaches") == ("place", "beach")
    assert WORDS.find("quux") is None
    text = "Carbon-Fibre, golden-hour; red-hot, Kyoto's 12"
    assert list(WORDS.words(text)) == ["carbon-fibre", "golden-hour", "red", "hot", "kyoto", "s"]


def test_adjectives_go_with_the_next_material():
    look = look_of(Prompt("glossy red plastic with rusty iron", "snowy oak, night"))
    plastic, iron = look.objects
    assert plastic.material is WORDS.materials["plastic"]
    assert plastic.colours == (WORDS.colours["red"],)
    assert plastic.gloss == WORDS.gloss["glossy"]
    assert plastic.finish is None
    assert iron.material is WORDS.materials["iron"]
    assert iron.colours == ()
    assert iron.finish == WORDS.finishes["rusty"]
    assert look.ground.material is WORDS.materials["oak"]
    assert look.ground.finish == WORDS.finishes["snowy"]
    assert look.light == WORDS.lights["night"]


def test_adjectives_after_the_last_material_say_something_of_it():
    (surface,) = look_of(Prompt("wood, weathered and striped", "")).objects
    assert surface.finish == WORDS.finishes["weathered"]
    assert surface.pattern == "stripes"


def test_a_colour_without_material_is_paint():
    (surface,) = look_of(Prompt("crimson", "")).objects
    assert surface.material is WORDS.materials["paint"]
    assert surface.colours == (WORDS.colours["crimson"],)


def test_a_place_is_made_of_what_such_places_are_made_of():
    look = look_of(Prompt("steel", "a forest at dawn"))
    moss, leaves = (WORDS.materials[name] for name in ("moss", "leaves"))
    assert (look.ground.material, look.wall.material) == (moss, leaves)
    look = look_of(Prompt("steel", "a forest of ice"))
    assert (look.ground.material, look.wall.material) == (WORDS.materials["ice"], moss)


def test_nothing_said_gives_a_whole_look_that_follows_from_the_text():
    one, other = look_of(Prompt("x", "y")), look_of(Prompt("x", "z"))
    assert one == look_of(Prompt("x", "y"))
    assert one.objects == other.objects
    assert (one.ground, one.wall, one.light) != (other.ground, other.wall, other.light)


@pytest.mark.parametrize("name", sorted(_TEXTURES))
def test_every_texture_varies_within_its_palette(name):
    generator = np.random.default_rng(0)
    points = generator.uniform(-5, 5, (4000, 3)).astype(np.float32)
    normals = np.tile(np.array([0, 0, 1], np.float32), (4000, 1))
    places = texture(name, points, normals, Noise(generator))
    assert places.dtype == np.float32
    assert 0 <= places.min() <= 0.4
    assert 0.6 <= places.max() <= 1
    again = texture(name, points, normals, Noise(np.random.default_rng(1)))
    assert name in ("stripes", "checks") or np.abs(places - again).max() > 0.05


def test_checks_alternate_from_square_to_square():
    points = np.array([[0.5, 0.5, 0], [1.5, 0.5, 0], [1.5, 1.5, 0], [0.5, -0.5, 0]], np.float32)
    normals = np.tile(np.array([0, 0, 1], np.float32), (4, 1))
    places = texture("checks", points, normals, Noise(np.random.default_rng(0)))
    np.testing.assert_array_equal(places, [0, 1, 0, 1])
