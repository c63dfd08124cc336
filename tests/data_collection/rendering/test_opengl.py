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
