import re
import subprocess
import sys

import pytest

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
