import errno
import logging
import sys

import pytest

from trainer.cli import run_command
from trainer.errors import ConfigError
from trainer.stopping import Interrupted


def exit_code(main):
    with pytest.raises(SystemExit) as caught:
        run_command(main)
    return caught.value.code


def test_main_gets_the_command_line_and_its_code_is_the_exit_code(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["command", "--seed", "3"])
    assert exit_code(lambda arguments: 7 if arguments == ["--seed", "3"] else 0) == 7


def test_a_user_error_is_a_message_and_exit_code_2(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")

    def main(arguments):
        raise ConfigError("x.yaml:3: seed: expected an integer")

    assert exit_code(main) == 2
    captured = capsys.readouterr()
    assert captured.err == "[rank 1] error: x.yaml:3: seed: expected an integer\n"
    assert captured.out == ""


def test_ctrl_c_is_exit_code_130():
    def main(arguments):
        raise KeyboardInterrupt

    assert exit_code(main) == 130


def test_training_that_was_asked_to_stop_exits_as_the_signal_would_have_it(caplog):
    def main(arguments):
        raise Interrupted(15, "stopped at step 3 and saved")

    with caplog.at_level(logging.INFO):
        assert exit_code(main) == 128 + 15
    assert "stopped at step 3 and saved" in caplog.text


def test_a_disk_that_is_full_anywhere_is_a_message(capsys):
    def main(arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "runs/exp1/videos")

    assert exit_code(main) == 2
    message = "error: cannot write runs/exp1/videos: No space left on device; make room"
    assert capsys.readouterr().err.startswith(message)


def test_another_error_of_the_system_keeps_its_traceback():
    def main(arguments):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "x")

    with pytest.raises(FileNotFoundError):
        run_command(main)


def test_a_bug_keeps_its_traceback():
    def main(arguments):
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        run_command(main)


@pytest.mark.parametrize(("rank", "level"), [("0", logging.INFO), ("3", logging.WARNING)])
def test_only_rank_0_talks(monkeypatch, rank, level):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])  # pytest's own would make the set-up a no-op
    monkeypatch.setattr(root, "level", logging.ERROR)
    monkeypatch.setenv("RANK", rank)
    exit_code(lambda arguments: 0)
    assert root.level == level
