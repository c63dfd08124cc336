import pytest
import torch

from components.models.nsvq_codebook import NSVQCodebook
from tests.support.ranks import run_on_two_ranks
from trainer.errors import ConfigError
from trainer.registry import models
from trainer.schema import ComponentSpec
from trainer.signature import build


def codebook(**changes):
    book = NSVQCodebook(**({"codes": 3, "latent": 2, "replace_every": 5} | changes))
    book.codes.data = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    return book


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


LATENT = torch.tensor([[1.0, 1.0], [9.0, 0.0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": 0}, "codes: expected a value greater than 0, got 0"),
        ({"latent": 0}, "latent: expected a value greater than 0, got 0"),
        ({"dead_below": 1.5}, "dead_below: expected a value .*1.*, got 1.5"),
    ],
)
def test_a_codebook_that_cannot_be_is_refused(change, message):
    spec = ComponentSpec(type="nsvq_codebook", params={"codes": 3, "latent": 2} | change)
    with pytest.raises(ConfigError, match=message):
        build(models, spec, "codebook")


def test_acting_a_latent_becomes_its_nearest_code():
    quantized = codebook()(LATENT)
    assert quantized.index_b.tolist() == [0, 1]
    assert quantized.latent_bl.tolist() == [[0, 0], [10, 0]]
    assert quantized.error_b.tolist() == [1, 0.5]


def test_training_it_moves_as_far_as_the_code_is_in_a_random_direction():
    first, second = (codebook()(LATENT, generator(seed)) for seed in (0, 1))
    for quantized in (first, second):
        moved = (quantized.latent_bl - LATENT).norm(dim=-1)
        torch.testing.assert_close(moved, torch.tensor([2.0, 1.0]).sqrt())
    assert not torch.equal(first.latent_bl, second.latent_bl)


def test_gradients_reach_latents_and_chosen_codes():
    book, latent = codebook(), LATENT.clone().requires_grad_()
    book(latent, generator()).latent_bl.sum().backward()
    assert latent.grad.abs().sum() > 0
    assert book.codes.grad.abs().sum(dim=1).gt(0).tolist() == [True, True, False]


def test_codes_that_nothing_chooses_move_to_chosen_ones_and_take_their_moments():
    book, moved = codebook(), []
    for step in range(5):
        book(LATENT, generator())
        book.replace_dead(step, lambda *arguments: moved.append(arguments))
    [(parameter, rows, source)] = moved
    assert parameter is book.codes
    assert rows.tolist() == [2]
    assert source.tolist() in ([0], [1])
    assert 0 <= (book.codes[2] - book.codes[source]).norm() < 1
    assert book.codes[:2].tolist() == [[0, 0], [10, 0]]
    assert book.usage.tolist() == [0, 0, 0]


@pytest.mark.parametrize("late", [{"replace_until": 4}, {"replace_every": 6}])
def test_codes_stay_where_it_is_too_late_or_too_early(late):
    book = codebook(**late)
    for step in range(5):
        book(LATENT, generator())
        book.replace_dead(step, lambda *_: pytest.fail("nothing was due"))
    assert book.usage.tolist() == [5, 5, 0]


def test_acting_and_validating_do_not_count():
    book = codebook()
    book(LATENT)
    book.eval()
    book(LATENT, generator())
    assert book.usage.tolist() == [0, 0, 0]


def _use_other_codes_on_each_rank(rank):
    book = codebook(codes=4)
    book.codes.data = torch.eye(4, 2) * 10 - 5 * torch.arange(4.0)[:, None]
    for step in range(5):
        book(book.codes.detach()[[rank]], generator(seed=rank))  # ranks 0 and 1, codes 0 and 1
        book.replace_dead(step, lambda *_: None)
    return book.codes.detach()


def test_ranks_count_together_and_replace_the_same_codes_alike(tmp_path):
    first, second = run_on_two_ranks(_use_other_codes_on_each_rank, tmp_path)
    assert torch.equal(first, second)
    before = torch.eye(4, 2) * 10 - 5 * torch.arange(4.0)[:, None]
    moved = (first != before).any(dim=1).tolist()
    assert moved == [False, False, True, True]  # what the other rank alone chose is alive
