import torch

from data_collection.envs.delayed_view import DelayedView

NOWHERE = torch.tensor([False, False])


def test_it_shows_late_samples_the_newest_first():
    view = DelayedView(2, 1, moments=3, stride=2, delay=1, device=torch.device("cpu"))
    for time in range(20):
        view.push(torch.tensor([[time], [100 + time]], dtype=torch.float32), NOWHERE)
        if time >= 5:
            assert view.look()[0].tolist() == [time - 1, time - 3, time - 5]
            assert view.look()[1].tolist() == [99 + time, 97 + time, 95 + time]


def test_an_episode_begins_with_its_first_sample_everywhere():
    view = DelayedView(2, 1, moments=2, stride=1, delay=2, device=torch.device("cpu"))
    for time in range(7):
        view.push(torch.full((2, 1), float(time)), NOWHERE)
    view.push(torch.tensor([[50.0], [7.0]]), torch.tensor([True, False]))
    assert view.look().tolist() == [[50, 50], [5, 4]]
    view.push(torch.tensor([[51.0], [8.0]]), NOWHERE)
    assert view.look().tolist() == [[50, 50], [6, 5]]
