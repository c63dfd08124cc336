import numpy as np
import pytest

from data_collection.episodes.texts import join_texts, split_texts


def test_texts_come_back_and_each_is_kept_once():
    texts = ["stål | ice", "wood", "stål | ice", "wood", "“quoted”"]
    data, index = join_texts(texts)
    assert data.tobytes().decode() == '["stål | ice", "wood", "“quoted”"]'
    assert index.tolist() == [0, 1, 0, 1, 2]
    assert split_texts(data, index) == texts


@pytest.mark.parametrize(
    ("text", "index"), [("{}", [0]), ("[1]", [0]), ("[", [0]), ('["a"]', [1]), ('["a"]', [-1])]
)
def test_what_does_not_fit_is_refused(text, index):
    with pytest.raises((ValueError, IndexError)):
        split_texts(np.frombuffer(text.encode(), np.uint8), np.array(index))
