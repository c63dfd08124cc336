import torch

from components.datasets import cache

CPU = torch.device("cpu")


def test_auto_takes_ram_up_to_half_of_what_is_free(monkeypatch):
    monkeypatch.setattr(cache, "free_ram", lambda: 1000)
    assert cache.choose("auto", 500, CPU).place == "ram"
    assert cache.choose("auto", 501, CPU).place == "none"


def test_what_is_asked_for_is_taken():
    for place in ("none", "ram", "device"):
        assert cache.choose(place, 10**15, CPU).place == place


def test_ranks_share_the_free_memory(monkeypatch):
    alone = cache.free_ram()
    assert alone > 10**6
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert cache.free_ram() < alone / 100
