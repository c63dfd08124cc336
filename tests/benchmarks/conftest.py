import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def results(tmp_path):
    """Return a function that runs a benchmark with a tiny budget and returns its rows by name."""

    def run(script, *arguments):
        file = tmp_path / "figures.json"
        command = [sys.executable, f"benchmarks/{script}", "--quick", "--json", str(file)]
        done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        content = json.loads(file.read_text())
        assert content["versions"]["python"]
        for row in content["results"]:
            assert row["name"] in done.stdout
        return {row.pop("name"): row for row in content["results"]}

    return run
