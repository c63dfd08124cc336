import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import data_collection.prompts
from data_collection.prompts import load_prompts
from data_collection.rendering.generators import Prompt
from data_collection.rendering.procedural.vocabulary import vocabulary
from trainer.errors import ConfigError

SHIPPED = sorted(Path(data_collection.prompts.__file__).parent.glob("*.jsonl"))


def line(foreground="steel", background="a forge", **more):
    return json.dumps({"foreground": foreground, "background": background, **more})


@pytest.fixture
def collection(tmp_path):
    def write(*lines):
        path = tmp_path / "prompts.jsonl"
        path.write_bytes(b"\n".join(x if isinstance(x, bytes) else x.encode() for x in lines))
        return path

    return write


def test_lines_become_prompts_drawn_by_weight_and_seed(collection):
    path = collection(line("steel"), "", line("wood", weight=3), line("ice", "Blåvand, Dänemark"))
    prompts = load_prompts(path)
    assert prompts.prompts[2] == Prompt("ice", "Blåvand, Dänemark")
    np.testing.assert_allclose(prompts.probabilities, [0.2, 0.6, 0.2])
    drawn = [prompts.draw(seed).foreground for seed in range(2000)]
    assert drawn[:50] == [load_prompts(path).draw(seed).foreground for seed in range(50)]
    shares = {name: count / 2000 for name, count in Counter(drawn).items()}
    assert shares == pytest.approx({"steel": 0.2, "wood": 0.6, "ice": 0.2}, abs=0.05)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{foreground: steel}", r"prompts\.jsonl:2: no JSON: .*column 2"),
        ('{"foreground": "steel"}', r":2: background: required, but missing"),
        ('{"foreground": 3, "background": "x"}', r":2: foreground: expected text, got 3"),
        (line(" "), r":2: foreground: .*at least 1 character"),
        (line(weight=0), r":2: weight: expected a value greater than 0, got 0"),
        (line(weight="much"), r":2: weight: expected a number"),
        (line(colour="red"), r":2: colour: unknown key; accepted: background, foreground, weight"),
        ('["steel", "a forge"]', r":2: expected a mapping"),
        (line("a", "b"), r":2: the same as line 1"),
        (b'{"foreground": "st\xe9el", "background": "x"}', r":2: expected UTF-8"),
    ],
)
def test_a_wrong_line_is_named(collection, bad, message):
    with pytest.raises(ConfigError, match=message):
        load_prompts(collection(line("a", "b"), bad))


def test_all_wrong_lines_are_named_at_once(collection):
    with pytest.raises(ConfigError) as caught:
        load_prompts(collection("{", line(), "[]"))
    assert [part.split(":")[1] for part in str(caught.value).splitlines()] == ["1", "3"]


def test_a_collection_without_prompts_is_refused(collection, tmp_path):
    with pytest.raises(ConfigError, match="holds no prompt"):
        load_prompts(collection("", "  "))
    with pytest.raises(ConfigError, match=r"no file .*prompt\.jsonl"):
        load_prompts(tmp_path / "prompt.jsonl")


def test_three_collections_are_shipped():
    assert len(SHIPPED) >= 3


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_collection_is_large_and_says_what_can_be_painted(path):
    prompts = load_prompts(path).prompts
    assert len(prompts) >= 100
    assert len({p.foreground for p in prompts}) == len(prompts)
    assert len({p.background for p in prompts}) == len(prompts)
    words = vocabulary()
    for text in (text for prompt in prompts for text in (prompt.foreground, prompt.background)):
        known = [word for word in words.words(text) if words.find(word)]
        assert known, f"{text!r}: no word of it is in the vocabulary"


def test_no_prompt_is_in_two_shipped_collections():
    backgrounds = [p.background for path in SHIPPED for p in load_prompts(path).prompts]
    assert len(set(backgrounds)) == len(backgrounds)
