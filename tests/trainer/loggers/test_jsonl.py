import json

import pytest

from tests.support.full_disk import files_end_at
from trainer.errors import UserError
from trainer.loggers.jsonl import JsonlLogger


def test_a_line_that_was_cut_off_before_its_end_is_not_joined_with_the_next(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}')
    logger = JsonlLogger(tmp_path, start_step=1)
    logger.log_scalars(2, {"loss": 0.25})
    logger.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_a_line_that_the_disk_has_no_room_for_is_an_error_and_dropped_on_going_on(tmp_path):
    logger = JsonlLogger(tmp_path, start_step=0)
    logger.log_scalars(1, {"loss": 0.5})
    with files_end_at(40):
        with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl"):
            logger.log_scalars(2, {"loss": 0.25})
        with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl"):
            logger.close()
    again = JsonlLogger(tmp_path, start_step=1)
    again.log_scalars(2, {"loss": 0.25})
    again.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
