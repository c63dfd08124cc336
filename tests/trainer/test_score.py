import pytest

from trainer import score
from trainer.errors import ConfigError


def test_a_policy_that_acts_is_no_scorer(toy):
    assert toy.train() == 0, toy.log.read_text()
    with pytest.raises(ConfigError, match=r"epoch_3: a naive_flow_matching_policy acts; expected"):
        score.main(["--checkpoint", str(toy.save_dir)])
