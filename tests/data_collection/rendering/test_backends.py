import logging
import os

import pytest

from data_collection.rendering.backends import choose_backend
from trainer.errors import UserError


@pytest.fixture(autouse=True)
def undecided(monkeypatch):
    """Forget what this process knows, and restore it."""
    monkeypatch.setenv("MUJOCO_GL", "")
    choose_backend.cache_clear()
    yield
    choose_backend.cache_clear()


@pytest.fixture
def no_opengl(monkeypatch):
    """PyOpenGL is told to use a platform that neither EGL nor OSMesa contexts accept."""
    monkeypatch.setenv("PYOPENGL_PLATFORM", "glx")


def test_without_opengl_rays_are_cast_and_it_is_said_once(no_opengl, caplog):
    assert [choose_backend(), choose_backend()] == ["raycast", "raycast"]
    [record] = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "ray casting on the CPU, without textures" in record.message
    assert "install libegl1 and libgl1, or libosmesa6" in record.message
    assert "egl: ImportError" in record.message
    assert os.environ["MUJOCO_GL"] == "disable"


def test_without_opengl_and_ray_casting_the_packages_are_named(no_opengl):
    with pytest.raises(UserError, match=r"egl: .*osmesa: .*install libegl1 and libgl1"):
        choose_backend("opengl")


def test_a_backend_that_does_not_start_is_an_error(no_opengl):
    with pytest.raises(UserError, match=r"need OpenGL \(osmesa\).*osmesa: ImportError"):
        choose_backend("osmesa")


def test_child_processes_learn_what_was_found(caplog):
    caplog.set_level(logging.INFO)
    found = choose_backend()
    assert os.environ["MUJOCO_GL"] == {"raycast": "disable"}.get(found, found)
    assert any("cameras are drawn" in r.message for r in caplog.records)


def test_what_mujoco_gl_names_is_believed(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert choose_backend() == "osmesa"
    with pytest.raises(UserError, match="MUJOCO_GL=osmesa is set"):
        choose_backend("egl")


def test_mujoco_gl_can_switch_opengl_off(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "off")
    assert choose_backend() == "raycast"
    with pytest.raises(UserError, match="MUJOCO_GL=off switches it off"):
        choose_backend("opengl")
    assert os.environ["MUJOCO_GL"] == "off"


def test_ray_casting_asked_for_tries_nothing(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    assert choose_backend("raycast") == "raycast"
