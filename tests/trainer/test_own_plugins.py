"""What docs/how-to/plugins.md shows works as it stands there."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from data_collection.distillation.teachers import vector_teachers
from data_collection.distillation.vec_env import vector_environments
from data_collection.mixing import mixings
from data_collection.rendering.generators import generators
from data_collection.teachers import teachers
from trainer import registry as registry_module
from trainer.acting import load_policy
from trainer.checkpoint import resolve_checkpoint
from trainer.interfaces import STATE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "how-to" / "plugins.md").read_text()
FILES = dict(
    re.findall(r"in `([\w/]+\.\w+)`:\n\n```\w+\n(.*?)```", TEXT, re.DOTALL | re.IGNORECASE)
)
EPISODES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[-1]
COMMANDS = [shlex.split(line) for line in re.findall(r"^python trainer/.*$", TEXT, re.MULTILINE)]
RUN = "runs/chunk_regression/exp1"


def python(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The page's files where it says, its data, and its run, trained to the end."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    dry, train = ([str(ROOT / script), *rest] for _, script, *rest in COMMANDS)
    assert "NOT checked against data" in python(folder, *dry)
    python(folder, "-c", EPISODES)
    assert "NOT checked" not in python(folder, *dry)
    python(folder, *train)
    return folder


def test_the_page_shows_five_files_and_two_commands():
    assert [Path(name).suffix for name in FILES] == [".py", ".yaml", ".py", ".py", ".yaml"]
    assert len(COMMANDS) == 2


def test_the_policy_learns_from_the_dataset(project):
    lines = map(json.loads, (project / RUN / "metrics.jsonl").read_text().splitlines())
    losses = [line["validation/loss"] for line in lines if "validation/loss" in line]
    assert len(losses) == 3
    # One action in eight can be told from the state; the others are noise of variance 1.
    assert losses[-1] < losses[0]
    assert losses[-1] < 1.0


def test_the_policy_acts_from_its_checkpoint(project):
    saved = load_policy(resolve_checkpoint(project / RUN), torch.device("cpu"))
    state_bos = torch.tensor(np.random.default_rng(1).normal(size=(50, 1, 6)), dtype=torch.float32)
    with torch.no_grad():
        action_bha, memory = saved.policy.predict_action({STATE: state_bos}, {}, [])
    assert memory == {}
    assert action_bha.shape == (50, 8, 2)
    expected = torch.tanh(state_bos[:, 0, :2])
    error = (action_bha[:, 0] - expected).square().mean()
    assert error < 0.5 * expected.square().mean()


def test_the_table_says_what_the_program_supplies():
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (.*)\|$", TEXT, re.MULTILINE)
    shipped = {each.registry for each in registry_module.shipped_components()}
    assert {kind for kind, _ in rows} == shipped
    known = vars(registry_module) | {
        "teachers": teachers,
        "mixings": mixings,
        "generators": generators,
        "vector_environments": vector_environments,
        "vector_teachers": vector_teachers,
    }
    for kind, cell in rows:
        supplied = re.findall(r"`(\w+)`", cell)
        assert supplied == list(known[kind].supplied), kind
