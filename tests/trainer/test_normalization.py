import numpy as np
import pytest
import torch

from trainer.fake_data import FakeDataset
from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    STATE,
    ActionTransform,
    FeatureStatistics,
    Interface,
)
from trainer.normalization import (
    AffineNormalizer,
    compute_statistics,
    statistics_from_json,
    statistics_to_json,
    warn_when_clipped,
)
from trainer.schema import NormalizationConfig


class Identity(ActionTransform):
    is_identity = True

    def forward(self, action_bha, state_bs):
        return action_bha

    inverse = forward


class MinusState(ActionTransform):
    def forward(self, action_bha, state_bs):
        return action_bha - state_bs[:, None, :3]

    def inverse(self, action_bha, state_bs):
        return action_bha + state_bs[:, None, :3]


def statistics(**changes):
    state = FeatureStatistics(
        10, np.array([1.0, 5.0]), np.array([2.0, 0.0]), np.array([-3.0, 5]), np.array([5.0, 5])
    )
    action = FeatureStatistics(
        10, np.array([0.5]), np.array([0.25]), np.array([-1.0]), np.array([3.0])
    )
    return {STATE: state, ACTION: action} | changes


def batch():
    return {
        STATE: torch.tensor([[[5.0, 5.02]]]),
        ACTION: torch.tensor([[[1.0], [3.0]]]),
        "task": torch.tensor([7]),
    }


@pytest.mark.parametrize(
    ("mode", "state", "action"),
    [
        # by hand: (5-1)/2; (5.02-5)/floor 0.01; (1-.5)/.25; (3-.5)/.25
        ("mean_std", [2.0, 2.0], [2.0, 10.0]),
        # centre 1, half range 4; half range 0 -> floor; action centre 1, half range 2
        ("min_max", [1.0, 2.0], [0.0, 1.0]),
        ("none", [5.0, 5.02], [1.0, 3.0]),
    ],
)
def test_modes_scale_as_worked_out_by_hand(mode, state, action):
    config = NormalizationConfig(state=mode, action=mode)
    normalized = AffineNormalizer(statistics(), config, Identity()).normalize(batch())
    torch.testing.assert_close(normalized[STATE][0, 0], torch.tensor(state), rtol=0, atol=2e-4)
    torch.testing.assert_close(normalized[ACTION][0, :, 0], torch.tensor(action))
    assert normalized["task"] is not None


def test_states_are_clipped_and_actions_are_not():
    normalizer = AffineNormalizer(statistics(), NormalizationConfig(clip=1.5), Identity())
    normalized = normalizer.normalize(batch())
    assert normalized[STATE].max() == 1.5
    assert normalized[ACTION].max() == 10.0


def test_raw_states_are_not_clipped():
    normalizer = AffineNormalizer(statistics(), NormalizationConfig(state="none"), Identity())
    state = torch.tensor([[[-250.0, 480.0]]])
    assert torch.equal(normalizer.normalize({STATE: state})[STATE], state)
    assert normalizer.clipped_share(state) == 0


def test_unnormalising_is_the_inverse_also_through_an_action_transform():
    interface = Interface(1, 4, 20.0, 5, 3)
    data = FakeDataset(interface)
    sample = data.__getitems__(range(8))
    normalizer = AffineNormalizer(
        compute_statistics(data, MinusState()), NormalizationConfig(), MinusState()
    )
    restored = normalizer.unnormalize_action(normalizer.normalize(sample)[ACTION], sample)
    torch.testing.assert_close(restored, sample[ACTION])


def test_statistics_of_transformed_actions_equal_numpy_on_all_valid_steps():
    data = FakeDataset(Interface(1, 4, 20.0, 5, 3), episodes=300, episode_length=16)
    computed = compute_statistics(data, MinusState())[ACTION]
    sample = data.__getitems__(range(len(data)))
    action = MinusState().forward(sample[ACTION], sample[STATE][:, -1])
    rows = action[~sample[ACTION_IS_PAD]].double().numpy()
    assert computed.count == len(rows) < action.shape[0] * action.shape[1]
    np.testing.assert_allclose(computed.mean, rows.mean(0), atol=1e-12)
    np.testing.assert_allclose(computed.std, rows.std(0), atol=1e-12)
    np.testing.assert_array_equal(computed.max, rows.max(0))


def test_statistics_survive_json_to_the_bit():
    original = statistics()
    read = statistics_from_json(statistics_to_json(original))
    for key in original:
        assert read[key].count == original[key].count
        np.testing.assert_array_equal(read[key].mean, original[key].mean)


def test_clipped_new_data_are_said_aloud(caplog):
    data = FakeDataset(Interface(1, 4, 20.0, 2, 1))
    narrow = statistics()
    warn_when_clipped(AffineNormalizer(narrow, NormalizationConfig(), Identity()), data)
    assert "% of the data's state values" in caplog.text
    caplog.clear()
    fitting = compute_statistics(data, Identity())
    warn_when_clipped(AffineNormalizer(fitting, NormalizationConfig(), Identity()), data)
    assert caplog.text == ""


def test_no_sample_is_read_where_the_extremes_are_not_clipped(monkeypatch):
    data = FakeDataset(Interface(1, 4, 20.0, 2, 1))
    normalizer = AffineNormalizer(
        compute_statistics(data, Identity()), NormalizationConfig(), Identity()
    )
    monkeypatch.setattr(data, "__getitems__", None)
    warn_when_clipped(normalizer, data)


def test_pictures_are_not_read_for_statistics(monkeypatch):
    data = FakeDataset(Interface(1, 4, 20.0, 5, 3))
    batch_of = data.__getitems__
    monkeypatch.setattr(data, "__getitems__", None)
    monkeypatch.setattr(data, "low_dim", batch_of)
    computed = compute_statistics(data, MinusState())
    floor = NormalizationConfig(clip=1.01)
    warn_when_clipped(AffineNormalizer(computed, floor, Identity()), data)


def test_clipped_data_are_said_aloud_at_every_start(toy):
    assert toy.train("--set", "normalization.clip=0.5", "--dry_run") == 0
    assert "state values lie beyond ±0.5 normalised units" in toy.log.read_text()


def test_actions_in_tiny_units_are_scaled_as_any_others():
    metres = {
        STATE: statistics()[STATE],
        ACTION: FeatureStatistics(
            9, np.zeros(2), np.array([2e-3, 1e-9]), np.full(2, -4e-3), np.full(2, 4e-3)
        ),
    }
    normalizer = AffineNormalizer(metres, NormalizationConfig(std_floor=0.01), Identity())
    np.testing.assert_allclose(normalizer.action_scale, [2e-3, 2e-5])  # a share of the largest
