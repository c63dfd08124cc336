import base64
import re
import sys
from pathlib import Path
from types import ModuleType

import imageio.v3 as iio
import nbformat
import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient

pytestmark = pytest.mark.xdist_group("notebook")  # it is executed once

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "dagger.ipynb"
SMALL = "N_ROUNDS, EPISODES, ROLLOUTS, STEPS, EVALUATION_EPISODES = 1, 2, 1, 10, 1"


@pytest.fixture(scope="module")
def committed():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def outputs(committed, tmp_path_factory):
    """The outputs of each code cell by the cell's id, after a run with small numbers."""
    notebook = committed.copy()
    at = next(i for i, cell in enumerate(notebook.cells) if cell.id == "parameters")
    folder = str(tmp_path_factory.mktemp("notebook") / "dagger")
    small = nbformat.v4.new_code_cell(f"{SMALL}\nSAVE_DIR = {folder!r}")
    notebook.cells = [*notebook.cells[: at + 1], small, *notebook.cells[at + 1 :]]
    NotebookClient(
        notebook,
        timeout=200,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    ).execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def printed(outputs):
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")


def test_the_committed_file_holds_no_outputs(committed):
    cells = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in cells] == [[]] * len(cells)
    assert {cell.execution_count for cell in cells} == {None}


def test_the_first_cell_asks_for_the_address_before_it_clones(committed, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    monkeypatch.chdir(tmp_path)
    (setup,) = (cell.source for cell in committed.cells if cell.id == "setup")
    assert "--constraint constraints.txt" in setup
    plain = TransformerManager().transform_cell(setup)
    with pytest.raises(SystemExit, match=r"YOUR_NAME.*put the address of your clone"):
        exec(plain, {})  # noqa: S102 - what a notebook does with its cells


def test_both_experiments_say_how_often_they_succeed(outputs):
    assert re.search(r"^expert +1\.00 of the episodes", printed(outputs["bc"]), re.MULTILINE)
    assert re.search(r"^behaviour cloning \d\.\d\d$", printed(outputs["bc"]), re.MULTILINE)
    assert re.search(r"^DAgger +\d\.\d\d after round 1$", printed(outputs["dagger"]), re.MULTILINE)


def test_the_curves_are_shown(outputs):
    pictures = [o.data["image/png"] for o in outputs["curves"] if "image/png" in o.get("data", {})]
    assert len(pictures) == 1
    pixels = iio.imread(base64.b64decode(pictures[0]))
    assert len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)) > 10


def test_the_videos_of_cloning_and_of_dagger_play_inline(outputs):
    shown = [o.data["text/html"] for o in outputs["videos"] if "text/html" in o.get("data", {})]
    films = [re.search(r'src="data:video/mp4;base64,([^"]+)"', page, re.DOTALL) for page in shown]
    assert len(films) == 2
    for film in films:
        frames = iio.imread(base64.b64decode(film[1]), extension=".mp4")
        assert frames.ndim == 4
        assert frames.std() > 10  # a scene, not one colour
