import multiprocessing

import pytest

from tests.support.full_disk import files_end_at
from trainer.errors import ConfigError, UserError
from trainer.files import locked_folder, write_text_atomically

_FORK = multiprocessing.get_context("fork")


def enter_elsewhere(folder):
    """Return what a process of its own is told on entering ``folder``."""
    ours, theirs = _FORK.Pipe()
    child = _FORK.Process(target=_enter, args=(folder, theirs))
    child.start()
    answer = ours.recv()
    child.join()
    return answer


def _enter(folder, connection):
    try:
        with locked_folder(folder, "somebody is there"):
            connection.send("entered")
    except ConfigError as error:
        connection.send(str(error))


def test_one_process_alone_is_in_a_folder_until_it_leaves(tmp_path):
    with locked_folder(tmp_path, "somebody is there"):
        assert enter_elsewhere(tmp_path) == "somebody is there"
    assert enter_elsewhere(tmp_path) == "entered"


def test_a_child_process_neither_holds_nor_ends_the_lock(tmp_path):
    go_on = _FORK.Event()
    with locked_folder(tmp_path, "somebody is there"):
        child = _FORK.Process(target=go_on.wait)
        child.start()
        enter_elsewhere(tmp_path / "another")
        assert enter_elsewhere(tmp_path) == "somebody is there"
    assert enter_elsewhere(tmp_path) == "entered"
    go_on.set()
    child.join()


def test_a_folder_into_which_nothing_came_is_not_left_behind(tmp_path):
    with locked_folder(tmp_path / "a" / "b", "taken"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    with locked_folder(tmp_path / "a" / "b", "taken"):
        (tmp_path / "a" / "beside").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["beside"]
    with locked_folder(tmp_path / "c", "taken"):
        (tmp_path / "c" / "kept").touch()
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [".lock", "kept"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=f"cannot write to {tmp_path}/file/folder"),
        locked_folder(tmp_path / "file" / "folder", "taken"),
    ):
        pass


def test_a_file_that_the_disk_has_no_room_for_is_named_and_the_old_one_stays(tmp_path):
    path = tmp_path / "figures.json"
    write_text_atomically(path, "old")
    message = f"cannot write {path}: File too large; make room, .* start the same command again"
    with files_end_at(1000), pytest.raises(UserError, match=message):
        write_text_atomically(path, 2000 * "x")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
