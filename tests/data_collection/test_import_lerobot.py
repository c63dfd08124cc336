import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from data_collection.episodes import RoundWriter, open_round, verify_round
from data_collection.import_lerobot import Wanted, import_dataset, main
from data_collection.importing.lerobot_folder import LerobotFolder
from tests.support.lerobot_dataset import (
    FPS,
    STEPS,
    TOP,
    WRIST,
    an_episode,
    write_v21,
    write_v30,
)
from trainer import offline_trainer
from trainer.errors import DataError, UserError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "own_data.md").read_text()
VERSIONS = {"v2.1": write_v21, "v3.0": write_v30}
VERDICTS = ("next.success", "next.reward", "next.done")
CODEC_ERROR = 4  # the next frame differs by 9
ALL = Wanted(("observation.gripper", "observation.state"), {"head": TOP, "wrist": WRIST})


@pytest.fixture(params=VERSIONS)
def write(request, tmp_path):
    """Write a data set of each version and return it opened."""

    def written(*arguments, **options):
        VERSIONS[request.param](tmp_path / "set", *arguments, **options)
        return LerobotFolder(tmp_path / "set")

    written.version = request.param
    return written


def test_every_number_and_picture_arrives(write, tmp_path):
    sealed = import_dataset(write(), ALL, tmp_path / "round")
    assert verify_round(sealed.folder) == []
    assert sealed.ids == ("episode_000000", "episode_000001", "episode_000002")
    for number, steps in STEPS.items():
        wrote, found = an_episode(number), sealed.read_episode(number)
        state = np.hstack([wrote["observation.gripper"][:, None], wrote["observation.state"]])
        np.testing.assert_array_equal(found["observation.state"], state)
        for key in ("action", "executed_action"):
            np.testing.assert_array_equal(found[key], wrote["action"])
        np.testing.assert_array_equal(found["reward"], wrote["next.reward"])
        np.testing.assert_array_equal(found["task"], wrote["task_index"])
        wrist = found["observation.images.wrist"].transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(wrist, wrote[WRIST])
        head = found["observation.images.head"].transpose(0, 2, 3, 1).astype(int)
        assert np.abs(head - wrote[TOP]).max() <= CODEC_ERROR
        ended = "truncated" if number == 1 else "terminated"
        assert np.flatnonzero(found[ended]).tolist() == [steps - 1]
        assert found["terminated"].sum() + found["truncated"].sum() == 1
        assert found["action_valid"].all()
        assert (found["actor"] == 0).all()


@pytest.mark.parametrize(
    ("missing", "successes", "sentence"),
    [
        ((), [True, False, False], "a success has next.success at its end"),
        (VERDICTS[:1], [False, False, True], "a success has a positive next.reward at its end"),
        (VERDICTS, [True, True, True], "every episode counts as a success"),
    ],
)
def test_success_is_what_the_data_say_of_it(tmp_path, capsys, missing, successes, sentence):
    write_v21(tmp_path / "set", leave_out=missing)
    assert main([str(tmp_path / "set"), "--save_dir", str(tmp_path), "--round", "3"]) == 0
    assert sentence in capsys.readouterr().out
    sealed = open_round(tmp_path / "round_003")
    assert [sealed.manifest[each].attributes.success for each in sealed.ids] == successes
    if missing == VERDICTS:
        assert all(sealed.read_episode(each)["terminated"][-1] for each in STEPS)


def test_the_round_says_where_it_comes_from(write, tmp_path):
    wanted = Wanted(cameras={"head": TOP}, episodes=(2, 0))
    sealed = import_dataset(write(), wanted, tmp_path / "round")
    assert sealed.ids == ("episode_000000", "episode_000002")
    config = yaml.safe_load(sealed.config_yaml)
    assert re.fullmatch("[0-9a-f]{64}", config["source"].pop("info_sha256"))
    assert config == {
        "source": {
            "format": "lerobot",
            "folder": "set",
            "codebase_version": write.version,
            "robot_type": "arm",
            "keys": ["observation.state"],
            "cameras": {"head": TOP},
            "episodes": [0, 2],
            "tasks": {0: "push"},
        },
        "recorded": {
            "control_hz": 10.0,
            "action": 7,
            "observations": {"observation.state": [3], "observation.images.head": [3, 32, 48]},
        },
    }


def test_importing_again_changes_nothing_and_goes_on_where_it_was_killed(write, tmp_path):
    dataset, folder = write(), tmp_path / "round"
    whole = import_dataset(dataset, ALL, tmp_path / "whole").folder
    RoundWriter(folder, (whole / "config.yaml").read_text())
    first = whole / "episodes" / "episode_000001.h5"
    (folder / "episodes" / first.name).write_bytes(first.read_bytes())
    for _ in range(2):
        import_dataset(dataset, ALL, folder)
        assert (folder / "round.json").read_bytes() == (whole / "round.json").read_bytes()
    with pytest.raises(DataError, match="sealed and takes no more episodes"):
        import_dataset(dataset, Wanted(), folder)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(("observation.stat",)), r"no feature observation.stat \(did you mean 'observatio"),
        (Wanted((TOP,)), r"top is video \(32, 48, 3\), expected a vector of numbers"),
        (Wanted(cameras={"a": "action"}), r"action is float32 \(7,\), expected a video or images"),
        (Wanted(episodes=(1, 7)), "no episode 7; there are 0 to 2"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(write, tmp_path, wanted, message):
    with pytest.raises(DataError, match=message) as caught:
        import_dataset(write(), wanted, tmp_path / "round")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "round").exists()


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        (TOP, lambda v: v[:-2], r"mp4 has \d+ frames of it for 18 rows, and none near .* row 16"),
        ("action", lambda v: v[:, :6], r"action has rows \(6,\), expected \(7,\)"),
        ("frame_index", lambda v: v + (v > 4), "row 5 is frame 6; rows are missing"),
        ("action", lambda v: np.full_like(v, np.nan), "action is NaN or infinite at step 0"),
        (
            "episode_index",
            lambda v: np.where(v == 2, 2 + (np.arange(18) > 8), v),
            "has 9 rows, exp",
        ),
    ],
)
def test_data_that_are_not_whole_are_refused_in_one_line(write, tmp_path, key, values, message):
    def change(number, episode):
        return episode | ({key: values(episode[key])} if number == 2 else {})

    with pytest.raises(DataError, match=message) as caught:
        import_dataset(write(change), ALL, tmp_path / "round")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "round" / "round.json").exists()


def test_what_is_no_such_data_set_is_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"is no LeRobot data set: it has no meta/info.json"):
        LerobotFolder(tmp_path)
    info = write_v21(tmp_path / "set") / "meta" / "info.json"
    said = json.loads(info.read_text())
    info.write_text(json.dumps(said | {"codebase_version": "v1.6"}))
    with pytest.raises(DataError, match=r"codebase_version 'v1.6'; expected one of v2.0, v2.1, v3"):
        LerobotFolder(tmp_path / "set")
    info.write_text(json.dumps(said | {"fps": 0}))
    with pytest.raises(DataError, match="fps is 0, expected a positive number"):
        LerobotFolder(tmp_path / "set")
    info.write_text("{")
    with pytest.raises(DataError, match=r"info.json is not JSON"):
        LerobotFolder(tmp_path / "set")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"need pyarrow: pip install 'offline-trainer\[lerobot\]'"):
        LerobotFolder(tmp_path / "set")


def test_the_pages_command_imports_what_the_next_one_trains_on(tmp_path, monkeypatch, capsys):
    """The page's data set is another: only keys and sizes are put in."""
    write_v30(tmp_path / "pusht")
    monkeypatch.chdir(tmp_path)
    command, train = (
        shlex.split(line)
        for line in re.findall(r"^python .*(?: pusht|data/pusht).*$", PAGE, re.MULTILINE)
    )
    assert main([each.replace("observation.image", TOP) for each in command[3:]]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].endswith("3 episodes, 1 of them successes")
    assert (
        out[-1]
        == f"--set interface.state=3 --set interface.action=7 --set interface.control_hz={FPS}"
    )
    sealed = open_round(tmp_path / "data" / "pusht" / "round_000")
    assert sealed.cameras() == ["head"]
    moved = {"data/pusht": tmp_path / "data" / "pusht", "runs/pusht": tmp_path / "runs"}
    given = [
        re.sub("|".join(moved), lambda found: str(moved[found[0]]), each) for each in train[4:]
    ]
    short = [
        *("--set", "train.steps=2", "--set", "train.save_every=2", "--set", "logging=[]"),
        *("--set", "data.batch_size=8"),
    ]
    arguments = ["--train_config", str(ROOT / train[3]), *given, *short, *out[-1].split()]
    assert offline_trainer.main(arguments) == 0
    assert (tmp_path / "runs" / "epoch_1").is_dir()


@pytest.mark.parametrize("path", ["../{episode_index}.parquet", "/data/{episode_index}.parquet"])
def test_no_path_leads_out_of_the_data_set(tmp_path, path):
    info = write_v21(tmp_path / "set") / "meta" / "info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"data_path": path}))
    with pytest.raises(DataError, match="it leads out of the data set"):
        import_dataset(LerobotFolder(tmp_path / "set"), ALL, tmp_path / "round")
