import re
import subprocess
import sys

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image

from data_collection.episodes import EpisodeAttributes, RoundWriter, seal, write_episode
from data_collection.episodes.jpeg import encode_frame, join_frames
from data_collection.show import main
from trainer.errors import DataError


def test_it_says_what_the_round_holds(make_round, capsys):
    assert main([str(make_round(images=True))]) == 0
    text = capsys.readouterr().out
    for line in (
        "environment  {params: {level: 3}, type: toy}",
        "frames       18",
        "success      0.500 (2 of 4)",
        "length       median 4.5, 3 to 6",
    ):
        assert line in text
    (images,) = (line for line in text.splitlines() if line.startswith("observation.images.head "))
    assert images.split() == ["observation.images.head", "uint8", "18", "(3,", "4,", "6)", "1,296"]
    assert "observation.state[2]" in text
    actors = next(line for line in text.splitlines() if line.startswith("actors"))
    shares = [float(share) for share in re.findall(r"[0-9.]+", actors)]
    assert sum(shares) == pytest.approx(1, abs=2e-3)


def test_verify_says_that_all_is_well(make_round, capsys):
    assert main([str(make_round()), "--verify"]) == 0
    assert "every hash matches" in capsys.readouterr().out


def test_verify_names_each_damaged_file_and_exits_with_2(make_round):
    folder = make_round()
    for name in ("rollout_001.h5", "rollout_002.h5"):
        path = folder / "episodes" / name
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    done = subprocess.run(
        [sys.executable, "-m", "data_collection.show", str(folder), "--verify"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "rollout_001.h5" in done.stdout
    assert "rollout_002.h5" in done.stdout
    assert "rollout_000.h5" not in done.stdout


def test_a_round_that_is_not_sealed_is_a_user_error(make_round):
    with pytest.raises(DataError, match="is not sealed"):
        main([str(make_round(sealed=False))])


def test_a_folder_of_rounds_is_a_user_error_that_names_them(make_round, tmp_path):
    make_round("rounds/round_000")
    for options in ([], ["--verify"], ["--sheet", str(tmp_path / "sheet.png")]):
        with pytest.raises(DataError, match=r"rounds is no round; it holds round_000: name one"):
            main([str(tmp_path / "rounds"), *options])


GREYS = {"head": 60, "left": 200}


@pytest.fixture
def filmed(tmp_path, make_arrays):
    """A round of two episodes: head is raw and dark, left is JPEG and bright."""
    folder = tmp_path / "filmed"
    writer = RoundWriter(folder, "recorded: {control_hz: 5.0}\n")
    for number, steps in enumerate((4, 6)):
        arrays = make_arrays(steps=steps)
        frames = {name: np.full((steps, 3, 16, 32), grey, np.uint8) for name, grey in GREYS.items()}
        arrays["observation.images.head"] = frames["head"]
        jpeg = join_frames([encode_frame(frame, 95) for frame in frames["left"]])
        for part, array in zip(("data", "offsets"), jpeg, strict=True):
            arrays[f"observation.images.left.{part}"] = array.copy()
        attributes = EpisodeAttributes(seed=number, success=True)
        writer.enter(write_episode(folder, f"r{number}", arrays, attributes))
    seal(folder)
    return folder


def test_a_sheet_has_a_row_for_each_episode_and_camera(filmed, tmp_path, capsys):
    path = tmp_path / "new" / "sheet.png"
    main([str(filmed), "--sheet", str(path)])
    assert f"sheet        {path}" in capsys.readouterr().out
    sheet = np.asarray(Image.open(path))
    # Two episodes of a caption (16) and two cameras (16 each, 2 apart), again 2 apart; always
    # 8 columns of 32, 2 apart.
    assert sheet.shape == (2 * (16 + 16 + 2 + 16) + 2, 8 * 34 - 2, 3)
    dark, bright = sheet[16:32, :32], sheet[34:50, :32]
    assert (dark == GREYS["head"]).all()
    assert np.abs(bright.astype(int) - GREYS["left"]).max() <= 2


def test_a_video_plays_the_chosen_episodes_and_camera_in_real_time(filmed, tmp_path):
    path = tmp_path / "clips.mp4"
    main([str(filmed), "--video", str(path), "--episodes", "1,0", "--camera", "left"])
    with imageio.get_reader(path) as reader:
        assert reader.get_meta_data()["fps"] == 5
        assert reader.get_meta_data()["size"] == (2 * 34 - 2, 16)
        frames = list(reader.iter_data())
    assert len(frames) == 6  # the longest
    assert frames[0][:, :32].mean() == pytest.approx(GREYS["left"], abs=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--camera", "haed"], "no camera 'haed' .did you mean 'head'.*recorded: head, left"),
        (["--episodes", "0,2"], "no episode 2; there are 0 to 1"),
    ],
)
def test_unknown_cameras_and_episodes_are_named(filmed, tmp_path, arguments, message):
    with pytest.raises(DataError, match=message):
        main([str(filmed), "--sheet", str(tmp_path / "sheet.png"), *arguments])
    assert not (tmp_path / "sheet.png").exists()


def test_a_round_without_pictures_says_how_to_get_some(make_round, tmp_path):
    with pytest.raises(DataError, match="no pictures were recorded; give the environment cameras"):
        main([str(make_round()), "--video", str(tmp_path / "clips.mp4")])


def test_a_damaged_jpeg_is_named_by_file_and_frame(make_round, tmp_path):
    folder = make_round(images=True)  # whose left camera holds no JPEG at all
    with pytest.raises(DataError, match=r"rollout_000\.h5: .*left, frame 0 of episode rollout_000"):
        main([str(folder), "--sheet", str(tmp_path / "sheet.png"), "--camera", "left"])
