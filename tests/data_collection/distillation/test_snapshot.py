import pytest
import torch

from data_collection.distillation.snapshot import write_snapshot
from tests.support.full_disk import files_end_at
from trainer.distributed import Ranks
from trainer.errors import UserError


def test_a_history_that_the_disk_has_no_room_for_is_named(tmp_path):
    alone = Ranks(0, 1, torch.device("cpu"))
    histories = {"history": torch.nn.Linear(1000, 1)}  # anything with a state of 4,000 bytes
    with (
        files_end_at(2000),
        pytest.raises(UserError, match=r"cannot write .*rank_0.*File too large"),
    ):
        write_snapshot(tmp_path, alone, histories, ("config.yaml", "seed: 0\n"))
