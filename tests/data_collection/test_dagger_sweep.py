"""Several DAgger experiments by one command."""

import json

import pytest

from data_collection import dagger_runner
from tests.support.dagger import QUICK, arguments
from trainer.checkpoint import newest_checkpoint
from trainer.errors import ConfigError, UserError


def sweep_of(folder, *lines):
    """Return a command that runs these lines into folders called by their numbers."""
    sweep = folder / "sweep.jsonl"
    placed = [line | {"save_dir": str(folder / str(n))} for n, line in enumerate(lines)]
    sweep.write_text("".join(json.dumps(line) + "\n" for line in placed))
    return [*arguments(folder / "unused", **QUICK), "--sweep", str(sweep)]


def test_each_line_of_a_sweep_is_an_experiment_of_its_own(tmp_path, capsys):
    assert dagger_runner.main(sweep_of(tmp_path, {"seed": 1}, {"seed": 2})) == 0
    runs = [tmp_path / str(n) / "train" / "round_000" for n in (0, 1)]
    first, second = (newest_checkpoint(run).weights_sha256 for run in runs)
    assert first != second
    assert capsys.readouterr().out.count("report.html") == 2
    assert not (tmp_path / "unused").exists()


def test_a_line_that_fails_keeps_no_other_from_running(tmp_path):
    lines = {"min_teacher_success": 0.9}, {}, {"min_teacher_success": 0.8}
    with pytest.raises(UserError) as failed:
        dagger_runner.main(sweep_of(tmp_path, *lines))
    assert str(failed.value).count("not good enough") == 2
    assert (tmp_path / "1" / "report.html").exists()


def test_what_is_wrong_in_a_later_line_is_found_before_the_first_runs(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown key .did you mean .steps"):
        dagger_runner.main(sweep_of(tmp_path, {}, {"train.set.train.stepz": 5}))
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.jsonl"]
