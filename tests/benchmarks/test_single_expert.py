import json

import pytest


@pytest.mark.slow
def test_policies_train_for_equal_seconds_and_no_training_is_repeated(results, tmp_path):
    work = tmp_path / "work"
    arguments = ["--work", str(work), "--jobs", "1"]
    rows = results("single_expert.py", *arguments)
    assert [name.partition(": ")[2] for name in rows] == [
        "naive flow",
        "single expert",
        "single expert, depth",
    ]
    (counts,) = work.glob("quick/steps_*.json")
    steps = json.loads(counts.read_text())
    assert {name.partition(": ")[2]: row["gradient steps"] for name, row in rows.items()} == steps
    saved = {path: path.stat().st_mtime_ns for path in work.glob("**/epoch_1/action_decoder.pt")}
    assert len(saved) == 3
    assert results("single_expert.py", *arguments) == rows
    assert {path: path.stat().st_mtime_ns for path in saved} == saved
