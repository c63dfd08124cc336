import pytest


@pytest.mark.slow
def test_each_setting_has_a_row_with_its_success_after_every_round(results, tmp_path):
    work = ["--jobs", "1", "--work", str(tmp_path)]
    (rounds, row), *others = results("round_settings.py", "--only", "4 rounds of 50", *work).items()
    assert (rounds, others) == ("4 rounds of 50", [])
    assert len(row["by round"].split()) == 5  # cloning is the first
    assert row["seeds"] == 1
    # Two demonstrations and eight rollouts, with a chunk of labels for every eighth state.
    assert 0 < row["labels"] < row["expert actions"]


@pytest.mark.slow
def test_a_warm_start_is_one_with_the_statistics_that_are_asked_for(results, tmp_path):
    results("round_settings.py", "--only", "recomputed", "--jobs", "1", "--work", str(tmp_path))
    (config,) = tmp_path.glob("quick/*recomputed_0/configs/002_train.yaml")
    assert "on_warm_start: recompute" in config.read_text()
    assert "load_dir: " in config.read_text()
