import numpy as np
import pytest

from components.datasets.fit import check_fits
from components.datasets.rounds import open_rounds
from trainer.errors import DataError
from trainer.interfaces import Interface

FITTING = {"state": 1, "action": 1, "cameras": {"head": (3, 4, 6)}}


@pytest.fixture
def one_round(tmp_path, record, episode):
    def make(config="seed: 0\n", **extra):
        record("round_000", episode([1], [0], **extra), config=config)
        (sealed,) = open_rounds(tmp_path, ["round_000"])
        return sealed

    return make


@pytest.fixture
def head_and_left(one_round):
    return one_round(
        observation__images__head=np.zeros((1, 3, 4, 6), np.uint8),
        observation__images__left=np.zeros((1, 3, 4, 6), np.uint8),
        observation__depth__left=np.zeros((1, 1, 4, 6), np.float16),
    )


def test_a_round_that_fits_is_accepted(head_and_left):
    check_fits(head_and_left, Interface(1, 1, 10, **FITTING))
    check_fits(head_and_left, Interface(1, 1, 10, 1, 1, {"left": (3, 4, 6)}), ["left"])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"state": 2}, r"round_000: observation\.state has shape \(1,\), .*says \(2,\)"),
        ({"action": 7}, r"action has shape \(1,\), but interface says \(7,\)"),
        ({"cameras": {"head": (3, 4, 4)}}, r"images\.head has shape \(3, 4, 6\).*\(3, 4, 4\)"),
        ({"cameras": {"haed": (3, 4, 6)}}, r"images\.haed was not recorded.*did you mean 'head'"),
    ],
)
def test_other_sizes_than_the_interface_are_named(head_and_left, sizes, message):
    with pytest.raises(DataError, match=message):
        check_fits(head_and_left, Interface(1, 1, 10, **(FITTING | sizes)))


def test_other_cameras_than_the_policy_wants_are_both_listed(head_and_left):
    wanted = Interface(1, 1, 10, 1, 1, {"head": (3, 4, 6), "wrist": (3, 4, 6)})
    with pytest.raises(DataError, match=r"wants .* of head, wrist; this round has head, left"):
        check_fits(head_and_left, wanted)


def test_depth_that_was_not_recorded_is_named(head_and_left):
    with pytest.raises(DataError, match=r"depth\.head was not recorded.*this round has left"):
        check_fits(head_and_left, Interface(1, 1, 10, **FITTING), ["head"])


def test_another_control_rate_is_refused(one_round):
    sealed = one_round(config="recorded: {control_hz: 80.0}\n")
    check_fits(sealed, Interface(1, 1, 80, 1, 1))
    with pytest.raises(DataError, match=r"80 actions a second, but interface\.control_hz is 20"):
        check_fits(sealed, Interface(1, 1, 20, 1, 1))


def test_a_jpeg_is_as_large_as_its_header_says(one_round, jpeg):
    sealed = one_round(**jpeg("head", np.zeros((1, 3, 8, 16), np.uint8)))
    check_fits(sealed, Interface(1, 1, 10, 1, 1, {"head": (3, 8, 16)}))
    with pytest.raises(DataError, match=r"images\.head has shape \(3, 8, 16\)"):
        check_fits(sealed, Interface(1, 1, 10, 1, 1, {"head": (3, 16, 8)}))


def test_a_first_frame_that_is_no_jpeg_is_named(one_round):
    sealed = one_round(
        observation__images__head__data=np.zeros(5, np.uint8),
        observation__images__head__offsets=np.array([0, 5]),
    )
    with pytest.raises(DataError, match=r"r000\.h5: .*images\.head, frame 0 of episode r000"):
        check_fits(sealed, Interface(1, 1, 10, **FITTING))
