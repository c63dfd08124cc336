import numpy as np
import pytest

from components.datasets.delivery import rows_to_deliver
from components.datasets.rounds import open_rounds
from trainer.errors import DataError


def source(**tasks):
    listing = ", ".join(f"{number[1:]}: {text}" for number, text in tasks.items())
    return f"source: {{format: other, tasks: {{{listing}}}}}\n"


def delivered(tmp_path, record, episode, interface, *configs):
    names = [f"round_{i:03d}" for i in range(len(configs))]
    for name, config in zip(names, configs, strict=True):
        record(name, episode([1], [0], task=np.zeros(1, np.int64)), config=config)
    return rows_to_deliver(open_rounds(tmp_path, names), interface, [])


def test_a_number_that_stands_for_two_tasks_is_refused(tmp_path, record, episode, interface):
    configs = source(_0="push"), source(_0="open")
    message = r"task 0 is 'push' in .*round_000, but 'open' in .*round_001"
    with pytest.raises(DataError, match=message):
        delivered(tmp_path, record, episode, interface, *configs)


def test_rounds_whose_tasks_agree_or_have_no_names_are_delivered(
    tmp_path, record, episode, interface
):
    configs = source(_0="push"), source(_0="push", _1="open"), "seed: 0\n"
    assert "task" in delivered(tmp_path, record, episode, interface, *configs)
