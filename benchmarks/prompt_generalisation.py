"""What generated images are for: students that meet looks which they have never seen.

python benchmarks/prompt_generalisation.py [--task TASK] [--json FILE]

The same episodes of an expert are recorded several times: as the simulator draws them, with a
prompt for each episode, every seven frames, and for each frame. A student learns from each, with
the same settings, and is rolled out in the simulator's images, under the prompts of the training,
and under prompts that nobody was trained on. Killed and started again, the command goes on where
it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from common import ROOT, Row, parser, report, run_logged, versions

from trainer.checkpoint import newest_checkpoint

COLLECT = ROOT / "experiment_training/data_collection/three_cameras/exp5/collect.yaml"
TRAIN = (
    ROOT
    / "experiment_training/imitation_learning/naive_flow_matching_policy/exp5"
    / "naive_flow_matching_policy.yaml"
)
PROMPTS = ROOT / "data_collection/prompts"
CAMERA = "head"
"""The student's only one: looks matter most where there is no second view."""

SEEN, HELD_OUT = ("interiors", "workplaces"), ("outdoors",)

STUDENTS: Mapping[str, Mapping[str, object]] = {
    "simulator images": {"render_mode": "simulator"},
    "generated, a prompt an episode": {"generated.draw": "episode"},
    "generated, a prompt every 7 frames": {"generated.draw": "frame"},
    "generated, a prompt a frame": {
        "generated.draw": "frame",
        "generated.baseline_interval": 1,
    },
}
"""Whose data are recorded with which settings."""

_PLUGINS = (
    "data_collection.envs.generated_images",
    "data_collection.rendering.generators.procedural",
)
_MOST_STEPS = 150


@dataclass(frozen=True)
class Study:
    """One task's data and runs, all below ``work``."""

    task: str
    work: Path
    demonstrations: int
    steps: int
    episodes: int
    seed: int

    def row(self, student: str) -> Row:
        """Return the success rates of one student, after collecting and training as needed."""
        run = self._train(student)
        row: Row = {"name": f"{self.task}, learnt from {student}, {self.steps} steps"}
        row["simulator"] = self._success(run, "simulator", None)
        row["seen prompts"] = self._success(run, "seen", SEEN)
        row["held-out prompts"] = self._success(run, "held_out", HELD_OUT)
        return row

    def _train(self, student: str) -> Path:
        folder = self.work / student.replace(", ", "_").replace(" ", "_")
        data, run = folder / "data", folder / f"run_{self.seed}_{self.steps}"
        log = self.work / "log.txt"
        settings = {
            **self._collection(),
            "generated.prompts": str(self._joined(SEEN)),
            "episodes": self.demonstrations,
            "workers": 1,
            "save_dir": str(data),
            **STUDENTS[student],
        }
        collect = ROOT / "data_collection/collect.py"
        run_logged([collect, "--collect_config", COLLECT], settings, log)
        if newest_checkpoint(run) is None:
            settings = {
                "seed": self.seed,
                "data.dataset.params.rounds": [str(data)],
                "train.save_dir": str(run),
                "train.steps": self.steps,
                "train.save_every": self.steps,
                "interface.cameras": {CAMERA: [3, 64, 64]},
                "model.component_config_paths": _one_camera(),
                "evaluation.max_steps": _MOST_STEPS,
                "evaluation.episodes": 1,  # evaluate.py follows
            }
            trainer = ROOT / "trainer/offline_trainer.py"
            run_logged([trainer, "--train_config", TRAIN], settings, log)
        return run

    def _success(self, run: Path, name: str, collections: tuple[str, ...] | None) -> float:
        """Return the success in the simulator's images, or under the prompts of collections."""
        output = run / f"{name}.json"
        if not output.is_file():
            file = run / f"{name}.yaml"
            file.write_text(yaml.safe_dump(self._environment(collections)))
            command: list[str | Path] = [ROOT / "trainer/evaluate.py", "--checkpoint", run]
            command += ["--environment", file, "--output", output]
            command += ["--episodes", str(self.episodes)]
            command += [word for plugin in _PLUGINS for word in ("--plugin", plugin)]
            run_logged(command, {}, self.work / "log.txt")
        return float(json.loads(output.read_text())["success_rate"])

    def _environment(self, collections: tuple[str, ...] | None) -> Mapping[str, object]:
        config = yaml.safe_load(COLLECT.read_text())
        plain = config["environment"]
        plain["params"] |= {"task": self.task, "cameras": _cameras()}
        if collections is None:
            return plain
        generated = config["generated"] | {
            "draw": "episode",
            "baseline_interval": 7,
            "cameras": [CAMERA],
            "environment": plain,
            "prompts": str(self._joined(collections)),
        }
        return {"type": "generated_images", "params": generated}

    def _joined(self, collections: tuple[str, ...]) -> Path:
        """Return a file with all prompts of these collections."""
        path = self.work / f"{'_'.join(collections)}.jsonl"
        path.write_text("".join((PROMPTS / f"{name}.jsonl").read_text() for name in collections))
        return path

    def _collection(self) -> Mapping[str, object]:
        return {
            "environment.params.task": self.task,
            "environment.params.cameras": _cameras(),
            "generated.cameras": [CAMERA],
        }


def _cameras() -> Mapping[str, object]:
    """Return the one camera of the study."""
    cameras = yaml.safe_load(COLLECT.read_text())["environment"]["params"]["cameras"]
    return {CAMERA: cameras[CAMERA]}


def _one_camera() -> Mapping[str, str]:
    """Return the student's components without the backbones of other cameras."""
    paths = yaml.safe_load(TRAIN.read_text())["model"]["component_config_paths"]
    backbone = f"backbone_{CAMERA}"
    return {k: v for k, v in paths.items() if not k.startswith("backbone_") or k == backbone}


def _arguments() -> argparse.Namespace:
    options = parser("Students of simulator images and of generated ones, under new prompts.")
    options.add_argument("--task", default="button-press-topdown-v3", help="of Meta-World")
    options.add_argument("--seed", type=int, default=0, help="of the training")
    options.add_argument("--steps", type=int, default=2000, help="of the training")
    options.add_argument("--work", type=Path, default=ROOT / "runs" / "prompt_generalisation")
    return options.parse_args()


def main() -> None:
    """Run the study and print its table."""
    args = _arguments()
    study = Study(
        task=args.task,
        work=args.work.resolve() / ("quick" if args.quick else args.task),
        demonstrations=2 if args.quick else 50,
        steps=4 if args.quick else args.steps,
        episodes=2 if args.quick else 50,
        seed=args.seed,
    )
    study.work.mkdir(parents=True, exist_ok=True)
    rows = [study.row(student) for student in STUDENTS if args.only in student]
    report(rows, versions("torch", "mujoco", "metaworld"), args.json)


if __name__ == "__main__":
    sys.exit(main())
