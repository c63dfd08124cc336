import json

import numpy as np
import pytest
from PIL import Image

from data_collection.prompts.preview import main, preview
from data_collection.rendering.generators import Prompt
from trainer.errors import ConfigError, UserError

PROMPTS = [Prompt("red steel", "a forge"), Prompt("oak", "a forest"), Prompt("ice", "a lab")]


@pytest.fixture
def collection(tmp_path):
    lines = [{"foreground": p.foreground, "background": p.background} for p in PROMPTS]
    (tmp_path / "few.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path / "few.jsonl"


def test_each_prompt_has_a_picture_above_its_words():
    sheet = preview(PROMPTS, pixels=48, columns=2)
    cell = 48 + 2 * 16
    assert sheet.shape == (2 * cell + 2, 2 * 48 + 2, 3)
    pictures = [sheet[:48, :48], sheet[:48, 50:], sheet[cell + 2 :, :48][:48]]
    assert all(picture.std() > 10 for picture in pictures)
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 5
    assert not sheet[cell + 2 :, 50:].any()  # there is no fourth prompt


def test_the_command_writes_a_sheet(collection, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert main([str(collection), "--out", str(out), "--count", "2", "--pixels", "32"]) == 0
    assert "2 of 3 prompts" in capsys.readouterr().out
    with Image.open(out) as sheet:
        assert sheet.size == (2 * 32 + 2, 32 + 2 * 16)


def test_without_a_name_the_sheet_is_called_after_the_collection(collection, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([str(collection), "--count", "1", "--pixels", "16"]) == 0
    assert (tmp_path / "few.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["--out", "nowhere/sheet.png"], UserError, r"no folder .*nowhere"),
        (["--camera", "cornr2"], ConfigError, r"no camera 'cornr2' \(did you mean 'corner2'"),
        (["--task", "drawer-opn-v3"], ConfigError, r"no Meta-World task"),
    ],
)
def test_what_is_wrong_is_named(collection, arguments, kind, message):
    with pytest.raises(kind, match=message):
        main([str(collection), "--pixels", "16", "--out", "sheet.png", *arguments])


@pytest.mark.parametrize("count", ["0", "-3"])
def test_a_count_is_positive(collection, count, capsys):
    with pytest.raises(SystemExit):
        main([str(collection), "--count", count])
    assert "expected a positive number" in capsys.readouterr().err
