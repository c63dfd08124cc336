import pytest


def test_every_way_of_loading_the_project_has_is_measured(results):
    rows = results("data_loading.py", "--without-peers", "--only", "no chunk")
    by_loader = {name.partition(": ")[2]: row for name, row in rows.items()}
    assert set(by_loader) == {
        "project raw, ram, uint8",
        "project raw, none, uint8",
        "project raw, bare, uint8",
        "project raw, ram, float32",
        "project jpeg, ram, uint8",
    }
    assert all(row["samples/s"] > 0 for row in rows.values())
    assert by_loader["project raw, none, uint8"]["cold samples/s"] > 0
    assert by_loader["project raw, ram, uint8"]["disk / raw"] == pytest.approx(1, abs=0.05)
    assert by_loader["project jpeg, ram, uint8"]["disk / raw"] < 0.5
