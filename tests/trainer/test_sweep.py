import json
import subprocess
import sys

import pytest

from data_collection import dagger_runner
from trainer.checkpoint import newest_checkpoint
from trainer.errors import ConfigError
from trainer.sweep import read_sweep

LINES = (
    '{"save_dir": "runs/a", "generated.prompts": "data_collection/prompts/interiors.jsonl"}\n'
    "\n"
    '{"save_dir": "runs/b", "generated.baseline_interval": 3, "phase1.sources": [{"noise": 0.1}]}\n'
)
RUNS = [
    ["save_dir=runs/a", "generated.prompts=data_collection/prompts/interiors.jsonl"],
    ["save_dir=runs/b", "generated.baseline_interval=3", "phase1.sources=[{noise: 0.1}]"],
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sweep.jsonl"
    path.write_text(LINES)
    return path


def test_every_line_is_a_run(file):
    assert read_sweep(file, None, "save_dir") == RUNS
    assert read_sweep(None, None, "save_dir") == [[]]


@pytest.mark.parametrize("index", [0, 1])
def test_an_index_chooses_one_run(file, index):
    assert read_sweep(file, index, "save_dir") == [RUNS[index]]


@pytest.mark.parametrize(
    ("text", "index", "message"),
    [
        (LINES, 2, r"--index 2: .* has the runs 0 to 1"),
        (LINES, -1, r"has the runs 0 to 1"),
        ("{", None, r"sweep.jsonl:1: expected a JSON object a line"),
        ('{"n_rounds": 2}', None, r'sweep.jsonl:1: .* with a "save_dir"'),
        (LINES + '{"save_dir": "runs/a"}', None, r"sweep.jsonl:4: its save_dir is that of line 1"),
        (LINES + '{"save_dir": "./runs//a/"}', None, r"sweep.jsonl:4: its save_dir is that of"),
        ("\n", None, r"sweep.jsonl holds no run"),
        ("", 0, r"sweep.jsonl holds no run"),
    ],
)
def test_what_cannot_be_run_is_refused(file, text, index, message):
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_sweep(file, index, "save_dir")


def test_a_typo_in_the_last_line_is_found_before_the_first_run(tmp_path):
    sweep = tmp_path / "sweep.jsonl"
    runs = [
        {"save_dir": str(tmp_path / "a"), "teacher.type": "nobody"},  # found when it is built
        {"save_dir": str(tmp_path / "b"), "n_round": 2},
    ]
    sweep.write_text("".join(json.dumps(run) + "\n" for run in runs))
    yaml = "experiment_training/dagger/peg_insert_side/exp1/dagger.yaml"
    with pytest.raises(ConfigError, match=r"n_round: unknown key.*n_rounds"):
        dagger_runner.main(["--dagger_config", yaml, "--sweep", str(sweep)])
    assert list(tmp_path.iterdir()) == [sweep]


def test_an_index_needs_a_sweep(tmp_path):
    with pytest.raises(ConfigError, match="--sweep FILE"):
        read_sweep(None, 0, "save_dir")
    with pytest.raises(ConfigError, match="no file"):
        read_sweep(tmp_path / "none.jsonl", None, "save_dir")


def test_the_trainer_trains_every_line_of_a_sweep(toy):
    sweep = toy.root / "seeds.jsonl"
    runs = [{"seed": seed, "train.save_dir": f"runs/seed_{seed}"} for seed in (1, 2)]
    sweep.write_text("".join(json.dumps(run) + "\n" for run in runs))
    assert toy.train("--sweep", str(sweep), "--set", "train.epochs=1") == 0, toy.log.read_text()
    weights = [toy.root / f"runs/seed_{s}/epoch_1/action_decoder.pt" for s in (1, 2)]
    assert weights[0].read_bytes() != weights[1].read_bytes()
    assert toy.train("--set", "seed=2", "--set", "train.epochs=1") == 0
    alone = toy.save_dir / "epoch_1" / "action_decoder.pt"
    assert weights[1].read_bytes() == alone.read_bytes()


def sweep_of(toy, *lines):
    path = toy.root / "sweep.jsonl"
    runs = [{"train.save_dir": f"runs/{i}", **line} for i, line in enumerate(lines)]
    path.write_text("".join(json.dumps(run) + "\n" for run in runs))
    return "--sweep", str(path)


def test_a_run_that_diverges_does_not_keep_the_others_of_its_sweep_from_training(toy):
    diverging = {"data.dataset.params.nan_from": 3}
    assert toy.train(*sweep_of(toy, diverging, {}), "--set", "train.epochs=1") == 2
    assert (toy.root / "runs/1/epoch_1").is_dir()
    assert not (toy.root / "runs/0/epoch_1").exists()
    assert "run 1 of 2: " in toy.log.read_text()


def test_a_wrong_parameter_in_the_last_line_is_found_before_the_first_run(toy):
    wrong = {"train.optimizer.params.lrr": 1.0}
    assert toy.train(*sweep_of(toy, {}, wrong)) == 2
    assert "did you mean 'lr'" in toy.log.read_text()
    assert not (toy.root / "runs").exists()


def test_a_signal_at_the_very_end_keeps_a_caller_from_what_follows(toy):
    stop = json.dumps([{"type": "killer", "params": {"step": 8, "signal_number": 15}}])
    command = ["--train_config", str(toy.config_path), "--set", "train.epochs=1"]
    code = "from trainer import offline_trainer as t; t.main(sys.argv[1:], more_follows=True)"
    ends = [sys.executable, "-c", f"import sys; {code}", *command, "--set", f"logging={stop}"]
    ended = subprocess.run(ends, cwd=toy.root, capture_output=True, text=True)
    assert "Interrupted: stopped after run 1 of 1" in ended.stderr
    assert newest_checkpoint(toy.save_dir).epoch == 1


def test_a_signal_at_the_end_of_a_run_keeps_the_next_from_beginning(toy):
    stop = json.dumps([{"type": "killer", "params": {"step": 8, "signal_number": 15}}])
    settings = "--set", "train.epochs=1", "--set", f"logging={stop}"
    assert toy.train(*sweep_of(toy, {}, {}), *settings) == 143, toy.log.read_text()
    assert "stopped after run 1 of 2" in toy.log.read_text()
    assert not (toy.root / "runs/1").exists()
