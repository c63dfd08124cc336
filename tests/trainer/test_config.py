import math

import pytest
import yaml
from pydantic import Field, PositiveInt

from trainer.config import (
    as_overrides,
    config_differences,
    load_component_config,
    load_config,
    project_root,
)
from trainer.errors import ConfigError
from trainer.schema import ComponentSpec, ExperimentConfig, Strict
from trainer.yaml_file import to_yaml

EXPERIMENT = """\
plugins: [components.losses.l2]
interface: {chunk: 16, control_hz: 20, state: 39, action: 4, cameras: {head: [3, 96, 96]}}
model:
  component_config_paths:
    trunk: experiment_models/some_policy/exp1/trunk.yaml
  component_build_args:
    trunk: {depth: 2}
policy: {type: some_policy}
data:
  dataset:
    type: some_dataset
    params: {horizon: "${interface.chunk}", rounds: [{path: a}, {path: b}]}
  batch_size: 256
train:
  epochs: 3
  save_every: 1
  loss: {type: l2}
  optimizer: {type: adamw, params: {lr: 1e-3}}
"""
IMPLICIT = {"train.save_dir": "runs/${experiment}"}


class Inner(Strict):
    width: PositiveInt
    depth: PositiveInt = 2


class Small(Strict):
    inner: Inner
    items: list[int] = Field(default=[])
    spec: ComponentSpec | None = None


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "experiment_training" / "imitation_learning" / "some_policy" / "exp1"
    folder.mkdir(parents=True)
    (folder / "some_policy.yaml").write_text(EXPERIMENT)
    models = tmp_path / "experiment_models" / "some_policy" / "exp1"
    models.mkdir(parents=True)
    (models / "trunk.yaml").write_text(
        "type: mlp\nparams:\n  width: ${interface.state}\n  depth: 1\n"
    )
    return tmp_path


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_file(text, name="small.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write_file


def experiment_file(project):
    folder = project / "experiment_training/imitation_learning/some_policy/exp1"
    return folder / "some_policy.yaml"


def load(project, *overrides):
    return load_config(experiment_file(project), ExperimentConfig, overrides, IMPLICIT)


def errors_of(file, *overrides, schema=Small):
    with pytest.raises(ConfigError) as caught:
        load_config(file, schema, overrides)
    return str(caught.value).splitlines()


def test_an_experiment_is_validated_interpolated_and_placed(project):
    loaded = load(project)
    assert loaded.config.data.batch_size == 256
    assert loaded.config.interface.cameras == {"head": (3, 96, 96)}
    assert loaded.config.data.dataset.params["horizon"] == 16
    assert loaded.config.train.optimizer.params["lr"] == 0.001
    assert loaded.config.train.save_dir == "runs/some_policy/exp1"
    assert loaded.root == project


def test_every_value_knows_its_line(project):
    loaded = load(project, "data.batch_size=8")
    file = experiment_file(project)
    assert loaded.where(("train", "epochs")) == f"{file}:15"
    assert loaded.at("data", "dataset", "params", "rounds", 1, "path").endswith(
        ":12: data.dataset.params.rounds[1].path"
    )
    assert loaded.under("train")("log_every") == f"{file}:14: train.log_every"
    assert loaded.where(("data", "batch_size")) == "--set data.batch_size"


def test_what_is_resolved_loads_again_to_the_same_configuration(project, tmp_path):
    loaded = load(project)
    saved = tmp_path / "config.yaml"
    saved.write_text(yaml.safe_dump(loaded.resolved))
    again = load_config(saved, ExperimentConfig)
    assert again.config == loaded.config
    assert again.resolved == loaded.resolved
    assert again.resolved["train"]["log_every"] == 50
    saved.write_text(to_yaml(loaded.resolved))
    assert load_config(saved, ExperimentConfig).config == loaded.config


def test_a_written_value_wins_over_the_implicit_one(project):
    assert load(project, "train.save_dir=elsewhere").config.train.save_dir == "elsewhere"


def test_a_generated_file_names_its_root_which_is_no_part_of_the_configuration(write, project):
    (project / "there").mkdir()
    text = "inner: {width: 3}\nroot: "
    loaded = load_config(write(f"{text}{project / 'there'}\n"), Small)
    assert loaded.root == project / "there"
    assert "root" not in loaded.resolved
    assert load_config(write(f"{text}/on/another/machine\n"), Small).root == project
    with pytest.raises(ConfigError, match=r":2: root: expected text, got 3"):
        load_config(write(f"{text}3\n"), Small)


def test_the_current_directory_is_the_root_of_a_file_outside_any_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project_root(tmp_path / "other" / "x.yaml") == tmp_path


def test_overrides_take_yaml_values_and_index_lists(write):
    file = write("inner: {width: 3}\nitems: [1, 2, 3]\nspec: null\n")
    overrides = ["items[0]=7", "items.2=9", "inner.depth=5", "spec.type=x", "spec.params.lr=1e-4"]
    config = load_config(file, Small, overrides).config
    assert config.items == [7, 2, 9]
    assert config.inner == Inner(width=3, depth=5)
    assert config.spec == ComponentSpec(type="x", params={"lr": 1e-4})


def test_any_value_survives_being_written_as_an_override(write):
    file = write("inner: {width: 3}\nitems: [1, 2, 3]\nspec: null\n")
    params = {"a": [math.inf, -1, None, 1e-5], "b, c": {"d": "x: [y], 'z'", "e": "no", "f": ""}}
    spec = {"type": "x" * 200, "params": params}
    (override,) = as_overrides({"spec": spec})
    assert load_config(file, Small, [override]).config.spec == ComponentSpec(**spec)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("experiment=mine", "--set experiment: experiment: unknown key"),
        ("items", "--set items: expected key=value, for instance train.epochs=10"),
        ("=3", "--set : expected key=value, for instance train.epochs=10"),
        ("items[3]=1", "--set items[3]: items is a list of 3; it has no item 3"),
        ("items.x=1", "--set items.x: items is a list of 3; it has no item x"),
        ("inner.width.z=1", "--set inner.width.z: inner.width is 3, which holds no keys"),
        ("inner.width=-3", "--set inner.width: inner.width: expected a value greater than 0"),
        ("inner.widht=3", "--set inner.widht: inner.widht: unknown key (did you mean 'width'?)"),
        ("inner={", "--set inner:1:2: malformed YAML"),
        ("inner=!!python/name:os.system", "is not allowed: YAML is data, never code"),
    ],
)
def test_a_wrong_override_is_named(write, override, message):
    file = write("inner: {width: 3}\nitems: [1, 2, 3]\n")
    (line,) = errors_of(file, override)
    assert message in line


def test_an_override_hides_the_lines_of_what_it_replaces(write):
    file = write("inner:\n  width: 3\n")
    (line,) = errors_of(file, "inner={width: x}")
    assert line == '--set inner: inner.width: expected an integer, got "x"'


def test_all_wrong_keys_are_reported_at_once_in_the_order_of_the_file(write):
    file = write('items: ["1", 2, true]\ninner:\n  widht: 3\nspec: {type: 3}\nextra: 1\n')
    assert errors_of(file) == [
        'small.yaml:1: items[0]: expected an integer, got "1"',
        "small.yaml:1: items[2]: expected an integer, got true",
        "small.yaml:2: inner.width: required, but missing",
        "small.yaml:3: inner.widht: unknown key (did you mean 'width'?); accepted: depth, width",
        "small.yaml:4: spec.type: expected text, got 3",
        "small.yaml:5: extra: unknown key; accepted: inner, items, spec",
    ]


def test_a_union_is_explained_by_the_alternative_that_came_closest(project):
    nested = "evaluation={every: 1, environment: {type: x, parms: 1}}"
    plain = "evaluation={every: 1, environment: from_date}"
    for override, expected in [
        (nested, "environment.parms: unknown key (did you mean 'params'?); accepted: params, type"),
        (plain, "environment: expected 'from_data' or a mapping, got \"from_date\""),
    ]:
        with pytest.raises(ConfigError) as caught:
            load(project, override)
        assert str(caught.value) == f"--set evaluation: evaluation.{expected}"


def test_a_rule_over_a_whole_section_is_reported_at_the_section(project):
    with pytest.raises(ConfigError, match=r":14: train: give exactly one of epochs and steps"):
        load(project, "train.epochs=null")


def test_defaults_are_merged_in_order_and_lists_replace(write):
    write("inner: {width: 1, depth: 1}\nitems: [1, 2]\n", "first.yaml")
    write("defaults: [first.yaml]\ninner: {width: 2}\n", "second.yaml")
    file = write("defaults: [second.yaml]\nitems: [5]\n")
    loaded = load_config(file, Small)
    assert loaded.config == Small(inner=Inner(width=2, depth=1), items=[5])
    assert loaded.where(("inner", "depth")) == "first.yaml:1"
    assert loaded.where(("inner", "width")) == "second.yaml:2"
    assert loaded.where(("items", 1)) == "small.yaml:2"


def test_a_component_of_another_type_does_not_inherit_params(write):
    write("inner: {width: 1}\nspec: {type: a, params: {x: 1, y: 2}}\n", "base.yaml")
    same = write("defaults: [base.yaml]\nspec: {type: a, params: {x: 3}}\n")
    assert load_config(same, Small).config.spec == ComponentSpec(type="a", params={"x": 3, "y": 2})
    other = write("defaults: [base.yaml]\nspec: {type: b}\n")
    assert load_config(other, Small).config.spec == ComponentSpec(type="b")


def test_what_is_left_open_must_be_given(write, project):
    path = write('inner:\n  width: ???\n  depth: ${inner.width}\nitems: [1, "???"]\n')
    assert errors_of(path) == [
        "small.yaml:2: inner.width: required: give it in the YAML or with --set inner.width=…",
        "small.yaml:4: items[1]: required: give it in the YAML or with --set items[1]=…",
    ]
    given = load_config(path, Small, ["inner.width=3", "items[1]=2"]).config
    assert given == Small(inner=Inner(width=3, depth=3), items=[1, 2])
    trunk = project / "experiment_models/some_policy/exp1/trunk.yaml"
    trunk.write_text("type: mlp\nparams:\n  width: ???\n")
    with pytest.raises(
        ConfigError, match=r":3: params.width: .*component_build_args.trunk.width=…"
    ):
        load_component_config(load(project), "trunk", str(trunk))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defaults: [small.yaml]\n", "defaults go in a circle: small.yaml -> small.yaml"),
        ("defaults: [bsae.yaml]\n", "small.yaml:1: defaults[0]: no file bsae.yaml (did you mean"),
        ("defaults: base.yaml\n", "small.yaml:1: defaults: expected a list of files"),
        ("inner: {width: '${innr.depth}'}\n", "inner.width: Interpolation key 'innr.depth' not"),
        ("inner: {width: '${'}\n", "small.yaml:1: inner.width: "),
        ("inner: {width: '${items}'}\nitems: ${inner.width}\n", "Recursive interpolation"),
    ],
)
def test_broken_references_are_errors_with_their_place(write, text, message):
    write("inner: {width: 1}\n", "base.yaml")
    (line,) = errors_of(write(text))
    assert message in line


def test_a_wrong_interpolation_key_gets_a_suggestion(write):
    (line,) = errors_of(write("inner:\n  width: ${inner.dept}\n  depth: 2\n"))
    assert line == (
        "small.yaml:2: inner.width: Interpolation key 'inner.dept' not found "
        "(did you mean 'inner.depth'?)"
    )


def test_a_model_yaml_refers_to_the_experiment_and_takes_its_build_args(project):
    loaded = load(project)
    component = load_component_config(
        loaded, "trunk", "experiment_models/some_policy/exp1/trunk.yaml"
    )
    assert component.config == ComponentSpec(type="mlp", params={"width": 39, "depth": 2})
    assert component.at("params", "width").endswith("trunk.yaml:3: params.width")
    assert component.where(("params", "depth")) == f"{experiment_file(project)}:7"


def test_a_missing_model_yaml_names_where_it_was_named_and_what_is_there(project):
    with pytest.raises(ConfigError) as caught:
        load_component_config(
            load(project), "trunk", "experiment_models/some_policy/exp1/trnk.yaml"
        )
    message = str(caught.value)
    assert f"{experiment_file(project)}:5: model.component_config_paths.trunk: no file" in message
    assert "did you mean 'trunk.yaml'?" in message


def test_a_model_yaml_is_checked_like_any_other(project):
    file = project / "experiment_models/some_policy/exp1/trunk.yaml"
    file.write_text("type: mlp\nparms: {width: 3}\n")
    with pytest.raises(ConfigError, match=r"trunk.yaml:2: parms: unknown key \(did you mean 'par"):
        load_component_config(load(project), "trunk", str(file))


def test_differences_are_listed_by_key_but_for_the_ignored():
    saved = {"train": {"lr": 1e-3, "epochs": 3}, "seed": 0, "logging": [{"type": "a"}], "gone": {}}
    now = {"train": {"lr": 1e-4, "epochs": 9}, "seed": 0, "logging": [], "new": {"x": "y"}}
    assert config_differences(saved, now, ignore=["train.epochs", "logging"]) == [
        "gone: saved {}, now nothing",
        'new.x: saved nothing, now "y"',
        "train.lr: saved 0.001, now 0.0001",
    ]
    assert config_differences(saved, now, ignore=["train", "logging", "gone", "new"]) == []


def test_an_ignored_prefix_ends_at_a_dot():
    assert config_differences({"train_set": 1}, {"train_set": 2}, ignore=["train"]) == [
        "train_set: saved 1, now 2"
    ]
