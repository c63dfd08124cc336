import pytest


@pytest.mark.slow
def test_iterations_are_measured_with_and_without_aggregation(results):
    rows = results("distillation.py", "--without-peers")
    for name in ("project", "project, aggregated, 1M transitions"):
        row = rows[name]
        assert row["steps/s"] < min(row["collection/s"], row["learning/s"])
        assert row["steps/s"] > 0
    assert rows["the environment alone"]["steps/s"] > rows["project"]["collection/s"]
    assert rows["project, GRU, gradient_length 15"]["learnt from"] == 1


@pytest.mark.slow
def test_a_gpu_is_measured_and_profiled_or_the_cpu_in_its_place(results, tmp_path):
    words = "exp2, 4,096 environments"
    rows = results("distillation_gpu.py", "--only", words, "--profile", str(tmp_path / "profile"))
    assert rows.keys() == {words, f"{words}, the teacher acts"}
    for row in rows.values():
        assert row["steps/s"] < min(row["collection/s"], row["learning/s"])
        if "waits, iteration" in row:
            assert row["waits, environment steps"] == row["waits, learning steps"] == 0
    text = (tmp_path / "profile").read_text()
    assert "\n23 environment steps" in text
    assert "\n15 learning steps" in text


@pytest.mark.slow
def test_the_ring_is_measured_beside_a_plain_one(results):
    rows = results("replay_buffer.py", "--without-peers")
    assert len(rows) == 2
    for row in rows.values():
        assert min(row["extend/s"], row["one by one/s"], row["sample(4096)/s"]) > 0


@pytest.mark.slow
def test_a_table_of_the_four_combinations(results, tmp_path):
    arguments = ["--folder", str(tmp_path / "runs"), "--seeds", "1"]
    arguments += ["--plot", str(tmp_path / "curves.png")]
    rows = results("distillation_table.py", *arguments)
    assert len(rows) == 4
    assert all(0 < row["of the teacher's"] < 1.1 for row in rows.values())
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert results("distillation_table.py", *arguments) == rows  # nothing is trained again
