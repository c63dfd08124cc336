import os
import subprocess
import sys


def test_a_process_that_has_rendered_can_still_build_an_optimizer():
    # Mesa's LLVM before Triton's would crash it; only a process of its own shows that.
    script = (
        "import torch; from data_collection.envs.meta_world import MetaWorld;"
        "env = MetaWorld(task='reach-v3'); env.reset(1); env.render();"
        "torch.optim.AdamW([torch.zeros(1, requires_grad=True)])"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_driver_that_fails_though_mujoco_gl_names_it_is_one_clear_message():
    script = (
        "from data_collection.envs.meta_world import MetaWorld\n"
        "from trainer.errors import UserError\n"
        "try: MetaWorld(task='reach-v3', renderer='egl').render()\n"
        "except UserError as error: print(error)"
    )
    broken = {"MUJOCO_GL": "egl", "__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent"}
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **broken},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "cameras cannot be drawn with egl: " in ended.stdout
    assert "unset that to have a backend chosen that works" in ended.stdout
    assert "Exception ignored" not in ended.stderr
