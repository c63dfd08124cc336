import pytest

from benchmarks.common import alternate, run_logged, table


def test_contestants_take_turns():
    calls = []

    def measure(name):
        calls.append(name)
        return float(len(calls))

    figures = alternate({"a": lambda: measure("a"), "b": lambda: measure("b")}, runs=2)
    assert calls == ["a", "b", "a", "b"]
    assert figures == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_a_table_has_a_column_for_every_key_and_gaps_where_a_row_lacks_it():
    rows = [{"name": "one", "ratio": 0.98765}, {"name": "other", "samples/s": 12345.6}]
    assert table(rows).splitlines() == [
        "| name  | ratio | samples/s |",
        "| ----- | ----- | --------- |",
        "| one   | 0.988 | –         |",
        "| other | –     | 12,346    |",
    ]


def test_a_script_that_fails_names_its_log(tmp_path):
    script, log = tmp_path / "script.py", tmp_path / "runs" / "script.log"
    script.write_text("import sys; sys.exit('no such ' + sys.argv[1])")
    with pytest.raises(SystemExit, match=r"script\.py ended with exit code 1; .*\.log says why"):
        run_logged([script], {"seed": 3}, log)
    assert log.read_text() == "no such --set=seed=3\n"
