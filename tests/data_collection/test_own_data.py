"""What docs/how-to/own_data.md shows works as it stands there."""

import re
import runpy
import shlex
from pathlib import Path

import numpy as np

from data_collection import show
from data_collection.teachers import teachers
from trainer import offline_trainer
from trainer.schema import ComponentSpec
from trainer.signature import build

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "how-to" / "own_data.md").read_text()
DATA, TEACHER = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SHOW, TRAIN = (shlex.split(x) for x in re.findall(r"^python .*data/mine.*$", TEXT, re.MULTILINE))


def run(code, folder):
    path = folder / "shown.py"
    path.write_text(code)
    runpy.run_path(str(path))


def test_demonstrations_become_a_round_that_can_be_shown_and_trained_on(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    run(DATA, tmp_path)
    assert show.main(SHOW[3:]) == 0
    assert "10 in 10 file(s)" in capsys.readouterr().out
    moved = {"data/mine": tmp_path / "data" / "mine", "runs/mine": tmp_path / "runs"}
    options = [
        re.sub("|".join(moved), lambda found: str(moved[found[0]]), option) for option in TRAIN[4:]
    ]
    config = str(ROOT / TRAIN[3])
    assert offline_trainer.main(["--train_config", config, *options, "--dry_run"]) == 0
    assert "NOT checked against data" not in capsys.readouterr().out


def test_a_teacher_of_ones_own_is_built_and_acts(tmp_path):
    run(TEACHER, tmp_path)
    spec = ComponentSpec(type="proportional", params={"gain": 2.0})
    teacher = build(teachers, spec, "teacher")

    class TwoDimensional:
        action_dim = 2

    state = {"observation.state": np.array([1.0, -0.5, 9.0], np.float32)}
    action = teacher.act(TwoDimensional(), state, np.random.default_rng(0))
    assert action.tolist() == [-2.0, 1.0]
