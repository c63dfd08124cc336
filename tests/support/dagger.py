"""A whole DAgger experiment, small."""

import json
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "experiment_training/dagger/peg_insert_side/exp1/dagger.yaml"
PLUGINS = yaml.safe_load(CONFIG.read_text())["plugins"]
SETTINGS = {
    "phase1.episodes": 3,
    "phase1.max_steps": 40,
    "phase2.rollouts": 2,
    "phase2.max_steps": 24,
    "phase2.labels.every": 8,
    "n_rounds": 1,
    "train.set": {
        "train.steps": 12,
        "train.save_every": 6,
        "data.batch_size": 16,
        "logging": [],
    },
    "evaluation.episodes": 2,
    "evaluation.max_steps": 24,
    "evaluation.videos": 1,
    "min_teacher_success": None,
    "workers": 1,
    "environments_per_worker": 2,
}
QUICK = {"n_rounds": 0, "phase1.episodes": 1, "evaluation.video_every": -1}
"""What makes it shorter still."""


def arguments(folder, **more):
    values = SETTINGS | {"save_dir": str(folder)} | more
    pairs = [("--set", f"{key}={json.dumps(value)}") for key, value in values.items()]
    return ["--dagger_config", str(CONFIG), *(a for pair in pairs for a in pair)]
