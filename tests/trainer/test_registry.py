import sys

import pytest

from trainer import registry as registry_module
from trainer.errors import ConfigError
from trainer.registry import Registry, UnknownComponentError, load_plugins

PLUGIN = """\
from trainer.registry import environments


@environments.register("{key}")
class Thing:
    pass
"""


@pytest.fixture
def environments(monkeypatch):
    registry = Registry("environment")
    monkeypatch.setattr(registry_module, "environments", registry)
    return registry


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A project whose modules register things, and which nothing has imported."""
    (tmp_path / "trainer").mkdir()
    for file, text in {
        "components/losses/absent.py": '@losses.register("absent")\nclass A: ...\n',
        "components/models/other.py": '@models.register(\n    "absent"\n)\nclass B: ...\n',
        "components/policies/flow.py": "@policies.register('flow')\nclass C: ...\n",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    monkeypatch.setattr(registry_module, "__file__", str(tmp_path / "trainer" / "registry.py"))
    return tmp_path


def test_a_registered_class_is_found_by_its_key():
    registry = Registry("thing")

    @registry.register("a")
    class A:
        pass

    assert registry.get("a") is A
    assert registry.keys() == ["a"]


def test_registering_a_key_twice_names_both_classes():
    registry = Registry("thing")

    @registry.register("a")
    class First:
        pass

    with pytest.raises(ConfigError, match=r"thing 'a' is registered twice: .*First in .*Second in"):

        @registry.register("a")
        class Second:
            pass

    assert registry.get("a") is First


def test_an_unknown_key_is_a_key_error_that_lists_and_suggests():
    registry = Registry("thing")
    registry.register("gaussian")(int)
    registry.register("uniform")(float)
    with pytest.raises(KeyError) as caught:
        registry.get("gausian")
    assert isinstance(caught.value, UnknownComponentError)
    assert str(caught.value) == (
        "no thing named 'gausian' (loaded: gaussian, uniform) (did you mean 'gaussian'?); "
        "is its plugin listed in plugins?"
    )


@pytest.mark.parametrize(
    ("kind", "key", "module"),
    [
        ("loss", "absent", "components.losses.absent"),
        ("model", "absent", "components.models.other"),
        ("policy", "flow", "components.policies.flow"),
    ],
)
def test_an_unlisted_plugin_is_pointed_out_by_kind_and_key(tree, kind, key, module):
    with pytest.raises(UnknownComponentError, match=f"add {module} to plugins"):
        Registry(kind).get(key)


def test_a_module_that_is_loaded_already_is_not_pointed_out(tree, monkeypatch):
    monkeypatch.setitem(sys.modules, "components.policies.flow", sys)
    with pytest.raises(UnknownComponentError, match="is its plugin listed"):
        Registry("policy").get("flow")


def test_a_plugin_file_is_loaded_once_relative_to_the_root_or_absolute(tmp_path, environments):
    (tmp_path / "mine.py").write_text(PLUGIN.format(key="mine"))
    load_plugins(["mine.py"], tmp_path)
    load_plugins(["mine.py", str(tmp_path / "mine.py")], tmp_path)
    assert environments.keys() == ["mine"]


def test_files_of_one_name_are_different_plugins(tmp_path, environments):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "plugin.py").write_text(PLUGIN.format(key=folder))
    load_plugins(["a/plugin.py", "b/plugin.py"], tmp_path)
    assert environments.keys() == ["a", "b"]


def test_a_module_given_by_name_and_by_file_is_loaded_once(tmp_path, environments, monkeypatch):
    (tmp_path / "named_plugin.py").write_text(PLUGIN.format(key="named"))
    monkeypatch.syspath_prepend(tmp_path)
    load_plugins(["named_plugin", "named_plugin.py"], tmp_path)
    assert environments.keys() == ["named"]
    del sys.modules["named_plugin"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent.py", None, r"plugins\[0\]: no file .*absent.py"),
        ("", None, r"plugins\[0\]: plugin '' does not import: ValueError"),
        (
            "broken.py",
            "x = 1\nraise RuntimeError('no licence')",
            r"plugin 'broken.py' does not import: RuntimeError: no licence \(.*broken.py:2\)",
        ),
        ("syntax.py", "def", r"'syntax.py' does not import: SyntaxError: .*syntax.py, line 1"),
        (
            "needs.py",
            "import not_installed",
            r"ModuleNotFoundError: No module named 'not_installed' \(.*needs.py:1\)",
        ),
        (
            "components.losses.absnet",
            None,
            r"no module 'components.losses.absnet' \(did you mean 'components.losses.absent'\?",
        ),
    ],
)
def test_a_plugin_that_does_not_import_is_named_with_its_cause(tree, name, text, message):
    if text is not None:
        (tree / name).write_text(text)
    loaded_before = set(sys.modules)
    with pytest.raises(ConfigError, match=message):
        load_plugins([name], tree)
    assert not [m for m in set(sys.modules) - loaded_before if m.startswith("plugin_")]


def test_messages_begin_with_the_place_that_the_caller_gives(tmp_path):
    with pytest.raises(ConfigError, match=r"^exp.yaml:3: plugins\[1\]: no module 'no_such_module'"):
        load_plugins(["json", "no_such_module"], tmp_path, "exp.yaml:3: plugins[{}]".format)
