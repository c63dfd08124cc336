import pytest


@pytest.mark.slow
def test_a_student_is_tested_under_seen_and_held_out_prompts(results, tmp_path):
    student = ("--only", "a prompt a frame", "--work", str(tmp_path / "work"))
    (row,) = results("prompt_generalisation.py", *student).values()
    assert list(row) == ["simulator", "seen prompts", "held-out prompts"]
    assert all(0 <= rate <= 1 for rate in row.values())
    found = {path.name for path in (tmp_path / "work").rglob("*.json")}
    assert {"simulator.json", "seen.json", "held_out.json"} <= found
