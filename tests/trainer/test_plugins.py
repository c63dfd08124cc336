"""What ``python -m trainer.plugins`` tells of the plugins that the project ships."""

import inspect
import subprocess
import sys
from typing import Annotated, Literal

import pytest
from pydantic import Field, PositiveInt

from trainer import plugins
from trainer.errors import ConfigError
from trainer.registry import Registry, load_plugins, shipped_components

SHIPPED = list(shipped_components())


def printed(capsys, *arguments):
    assert plugins.main(arguments) == 0
    return capsys.readouterr().out


def test_without_arguments_it_lists_every_key_and_imports_none():
    code = (
        "import sys; from trainer import plugins; plugins.main([]);"
        "sys.exit(bool({'torch', 'mujoco'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert lines.keys() == {each.registry for each in SHIPPED}
    assert "act, behavior_cloning, cfg_vqvae_flow_matching" in lines["policies"]
    assert "wandb_logger" in lines["loggers"]


def test_a_plugin_is_described_with_types_and_defaults(capsys):
    assert printed(capsys, "models", "mlp").splitlines() == [
        "mlp  (components.models.mlp)",
        "    Linear layers, each followed by an activation and, where asked for, dropout.",
        "    inputs: int > 0, required",
        "    width: int > 0 | list[int > 0] length >= 1, required",
        "    layers: int > 0 | null, default null",
        "    dropout: float >= 0 and < 1, default 0.0",
        "    activation: elu | gelu | relu | tanh, default gelu",
    ]


def test_a_parameter_with_keys_of_its_own_has_a_line_for_each(capsys):
    text = printed(capsys, "policies", "naive_flow_matching_policy")
    assert "    interface: given by the program\n" in text
    assert "    flow.num_steps: int > 0, default 10\n" in text


def test_so_has_one_that_may_be_left_out_and_one_with_names_that_the_user_gives(capsys):
    text = printed(capsys, "environments", "meta_world")
    assert "    disturbance: DisturbanceConfig | null, default null\n" in text
    assert "    disturbance.push_every: int > 0, default 40\n" in text
    assert "    cameras.<name>.depth: bool, default false\n" in text


def test_a_kind_lists_all_of_its_plugins(capsys):
    text = printed(capsys, "losses")
    assert [line.split()[0] for line in text.splitlines() if "  (" in line and line[0] != " "] == [
        "huber", "l1", "l2", "masked_velocity"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["policy"], "no kind of plugin named 'policy' (did you mean 'policies'?); there are acti"),
        (
            ["losses", "hubr"],
            "no plugin among losses named 'hubr' (did you mean 'huber'?); there",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(arguments, message):
    with pytest.raises(ConfigError) as caught:
        plugins.main(arguments)
    assert str(caught.value).startswith(message)


def test_what_cannot_be_imported_here_is_listed_with_the_cause(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "components.losses.l1", None)
    text = printed(capsys, "losses")
    assert "not to be had here: " in text
    assert "masked_velocity  (" in text


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (PositiveInt, "int > 0"),
        (Annotated[float, Field(ge=0, lt=1)], "float >= 0 and < 1"),
        (dict[str, tuple[int, ...]] | None, "dict[str, tuple[int, …]] | null"),
        (Literal["a", 1, None], "a | 1 | null"),
        (object, "object"),
    ],
)
def test_types_are_written_for_people(hint, text):
    assert plugins.type_text(hint) == text


@pytest.mark.parametrize("registry", sorted({each.registry for each in SHIPPED}))
def test_positional_parameters_of_shipped_plugins_are_those_that_the_program_supplies(
    registry, tmp_path
):
    for each in SHIPPED:
        if each.registry == registry:
            load_plugins([each.module], tmp_path)
            known: Registry = getattr(sys.modules[each.module], registry)
            parameters = inspect.signature(known.get(each.key)).parameters.values()
            positional = {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
            assert positional <= set(known.supplied), each
