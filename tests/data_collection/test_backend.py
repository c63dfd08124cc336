import subprocess
import sys
import time

import psutil
import pytest

from tests.support.toy import make_toy
from tests.support.toy_round import contents, write_round
from trainer.checkpoint import newest_checkpoint

TRAIN = (
    "import sys; from pathlib import Path; from data_collection.backend import LocalBackend;"
    "LocalBackend().train(Path(sys.argv[1]), ranks=2)"
)

WITHOUT_RAY = (
    "import sys; sys.modules['ray'] = None; from data_collection.collect import main;"
    "from trainer.cli import run_command; run_command(main)"
)


@pytest.mark.slow
def test_ranks_end_with_the_runner_that_is_killed_and_save_what_they_have(tmp_path):
    toy = make_toy(tmp_path)
    toy.edit(train__epochs=10_000, train__save_every=10_000)
    command = [sys.executable, "-c", TRAIN, str(toy.config_path)]
    with subprocess.Popen(command, cwd=toy.root, stderr=subprocess.DEVNULL) as runner:
        while not (toy.save_dir / "metrics.jsonl").exists():
            time.sleep(0.1)
        family = psutil.Process(runner.pid).children(recursive=True)
        assert len(family) >= 3  # torchrun and two ranks
        runner.kill()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    assert newest_checkpoint(toy.save_dir).folder.name == "interrupt"


def collect_without_ray(path, *arguments):
    command = [sys.executable, "-c", WITHOUT_RAY, "--collect_config", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def test_ray_is_needed_by_none_but_its_backend(tmp_path):
    path = write_round(tmp_path)
    refused = collect_without_ray(path, "--backend", "ray")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: --backend ray needs Ray (")
    assert refused.stderr.endswith("): pip install '.[cluster]'\n")
    assert not (tmp_path / "rounds").exists()
    done = collect_without_ray(path)
    assert done.returncode == 0, done.stderr
    assert len(contents(tmp_path / "rounds" / "round_000")) == 9
