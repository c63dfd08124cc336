import numpy as np
import pytest

from data_collection.episodes import open_round, pack, verify_round


@pytest.mark.parametrize("packed", [False, True])
def test_any_flipped_bit_of_any_file_is_found(make_round, packed):
    folder = make_round()
    if packed:
        pack(folder)
    assert verify_round(folder) == []
    index = open_round(folder).index
    padding = set(range(int((index.starts + index.sizes).max())))
    for start, size in zip(index.starts.tolist(), index.sizes.tolist(), strict=True):
        padding -= set(range(start, start + size))
    rng = np.random.default_rng(1)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        for position in rng.integers(0, len(whole), 25):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            assert verify_round(folder) or (path.suffix == ".bin" and position in padding)
        path.write_bytes(whole)
    assert verify_round(folder) == []


def test_each_damaged_episode_is_named(make_round):
    folder = make_round()
    for name in ("rollout_000.h5", "rollout_003.h5"):
        path = folder / "episodes" / name
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    damage = verify_round(folder)
    assert [line.split(": ")[0].rsplit("/", 1)[1] for line in damage] == [
        "rollout_000.h5",
        "rollout_003.h5",
    ]


def test_an_unsealed_round_is_reported(make_round):
    assert "is not sealed" in verify_round(make_round(sealed=False))[0]
