import math

import pytest
import yaml

from trainer.config_tree import Mark
from trainer.errors import ConfigError
from trainer.yaml_file import from_yaml, parse_yaml, read_yaml, to_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-1.5E+2", -150.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("-.inf", -math.inf),
        ("12", 12),
        ("-7", -7),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
    ],
)
def test_scalars_follow_the_core_schema(text, value):
    result, _ = parse_yaml(text, "text")
    assert result == value
    assert type(result) is type(value)


def test_marks_hold_the_line_of_each_key_and_item():
    _, marks = parse_yaml("a:\n  b: 1\n  c:\n  - x\n  - d: 2\n", "f")
    lines = {("a",): 1, ("a", "b"): 2, ("a", "c"): 3, ("a", "c", 0): 4, ("a", "c", 1, "d"): 5}
    assert {path: marks[path] for path in lines} == {p: Mark("f", n) for p, n in lines.items()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2", r"f:2:2: malformed YAML: while parsing a flow sequence"),
        ("a: 1\nb: 2\na: 3", r"f:3:1: key 'a' is already given at f:1"),
        ("a: !!python/object/apply:os.system [x]", r"f:1:4: tag .* YAML is data, never code"),
        ("a: !mine x", r"f:1:4: tag !mine is not allowed"),
        ("a: !!binary eA==", r"tag .*binary is not allowed"),
        ("a: !!int x", r"f:1:4: 'x' is not of type int"),
        ("1: x", r"f:1:1: a key must be text; put it in quotes"),
        ("a: &x [*x]", r"an alias contains itself"),
        ("--- a\n--- b", r"malformed YAML: expected a single document"),
        ("a: \x00", r"malformed YAML"),
    ],
)
def test_what_is_not_plain_data_is_refused_with_its_place(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, "f")


def test_a_file_must_exist_be_text_and_hold_a_mapping(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match=r"no file config.yaml; .* holds: nothing"):
        read_yaml(file)
    for content, message in [
        (b"", "config.yaml: expected a mapping of keys to values, got nothing"),
        (b"- 1", "config.yaml: expected a mapping of keys to values, got a list"),
        (b"a: \xff", "config.yaml: cannot be read"),
    ]:
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            read_yaml(file)
    with pytest.raises(ConfigError, match=r"did you mean 'config.yaml'"):
        read_yaml(tmp_path / "confg.yaml")


def test_written_text_is_read_back_exactly():
    value = {
        "numbers": [1, 1.0, 1e-5, 1e300, -math.inf, 0],
        "texts": [
            "1e-3",
            "no",
            "true",
            "null",
            "~",
            "",
            "010",
            "1",
            ".5",
            "ä: b",
            "${x}",
            "two\nl",
            "off",
            "1_000",
            "12:30:00",
            "2024-01-01",
        ],
        "rest": {"a": None, "b": True, "1": [], "c": {}},
    }
    result, _ = parse_yaml(to_yaml(value), "f")
    assert result == value
    assert repr(result) == repr(value)
    numbered = {"tasks": {0: "open", 7: "off"}}
    assert from_yaml(to_yaml(value | numbered)) == value | numbered


@pytest.mark.parametrize("tag", ["!!python/name:os.system", "!!python/object/apply:os.getpid []"])
def test_what_would_make_objects_is_refused_in_our_own_files_too(tag):
    with pytest.raises(yaml.YAMLError, match="could not determine a constructor"):
        from_yaml(f"a: {tag}")
