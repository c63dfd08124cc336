from benchmarks.common import alternate, table


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
