import subprocess
import sys
import time

import psutil
import pytest

from tests.support.toy import make_toy
from trainer.checkpoint import newest_checkpoint

TRAIN = (
    "import sys; from pathlib import Path; from data_collection.backend import LocalBackend;"
    "LocalBackend().train(Path(sys.argv[1]), ranks=2)"
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
