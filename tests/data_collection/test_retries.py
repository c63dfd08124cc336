import pytest

from data_collection.retries import Retries
from trainer.errors import UserError
from trainer.rollout import RolloutJob

JOBS = [RolloutJob(f"000_{i:06d}", i) for i in range(4)]


def test_those_who_die_before_they_are_ready_end_the_round_and_blame_no_rollout():
    retries = Retries(0)
    for _ in range(2):
        assert retries.lost("a worker", "exit code 1", [], ready=False) == []
    with pytest.raises(UserError, match="exit code 1\nit was not ready to play yet, the third"):
        retries.lost("a worker", "exit code 1", [], ready=False)


def test_somebody_who_is_ready_shows_that_others_can_be():
    retries = Retries(0)
    for _ in range(9):
        retries.lost("a worker", "exit code 1", [], ready=False)
        retries.works()


def test_any_number_of_idle_nodes_may_be_lost():
    retries = Retries(0)
    for _ in range(9):
        assert retries.lost("a node", "the machine was turned off", [], ready=True) == []


def test_a_job_is_given_up_with_all_reasons():
    retries = Retries(1)
    assert retries.lost("a worker", "first", JOBS[:2], ready=True) == []
    given_up = retries.lost("a worker", "second", JOBS[1:3], ready=True)
    assert [(outcome.job, outcome.failure) for outcome in given_up] == [(JOBS[1], "first\nsecond")]
