def test_a_policy_that_integrates_is_timed_with_fewer_steps_too(results):
    rows = results("decisions.py", "--only", "naive_flow_matching_policy/exp3")
    steps = {name.rpartition(", ")[2]: row for name, row in rows.items()}
    assert list(steps) == ["5 steps", "1 step", "2 steps"]
    assert all(row["ms"] > 0 for row in steps.values())


def test_a_policy_that_does_not_has_one_row(results):
    ((name, row),) = results("decisions.py", "--only", "behavior_cloning/exp1").items()
    assert name == "behavior_cloning/exp1"
    assert row["ms"] > 0
