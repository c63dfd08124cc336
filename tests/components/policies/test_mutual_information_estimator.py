import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from components.datasets.dagger_rounds import DaggerRounds
from components.datasets.episode_scores import EpisodeScores
from components.models.picture_decoder import PictureDecoder
from data_collection.episodes import EpisodeAttributes, RoundWriter, seal, write_episode
from tests.support.toy import equal_bits
from trainer import score
from trainer.build import build_run, load_experiment
from trainer.distributed import Ranks
from trainer.errors import ConfigError, DataError, UserError
from trainer.fake_data import FakeDataset
from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    EPISODE_INDEX,
    IMAGE_PREFIX,
    STATE,
    Interface,
    Progress,
)
from trainer.resume import started_run

ROOT = Path(__file__).parents[3]
EXPERIMENTS = ROOT / "experiment_training/imitation_learning/mutual_information_estimator"
SMALL = {
    "exp1": (
        *(f"model.component_build_args.backbone_{c}.model=test_resnet" for c in ("head", "left")),
        "model.component_build_args.backbone_right.model=test_resnet",
        "model.component_build_args.observation_encoder={dim: 32, hidden: 32, image_token_dim: 96}",
        "model.component_build_args.observation_embedder={inputs: [31, 32], width: 32}",
        "model.component_build_args.picture_decoder={channels: [16, 8, 8]}",
    ),
    "exp2": ("model.component_build_args.observation_embedder={width: 32}",),
}


def test_loss_by_hand(estimator, batch):
    policy = estimator(divergence_weight=0.5)
    output = policy(batch, Progress(0, 1, torch.Generator().manual_seed(4)))

    generator = torch.Generator().manual_seed(4)
    chunk_noise, noise = (torch.randn(8, 4, generator=generator) for _ in range(2))
    parts = policy.components
    chunk = parts["chunk_embedder"](batch[ACTION])
    seen = parts["observation_embedder"](policy.observer(batch))
    action = parts["chunk_decoder"](chunk.mean + (chunk.log_variance / 2).exp() * chunk_noise)
    state = parts["state_decoder"](seen.mean + (seen.log_variance / 2).exp() * noise)
    valid = ~batch[ACTION_IS_PAD]
    error = (state - batch[STATE]).square().mean(dim=(1, 2))
    error = error + 0.5 * (chunk.divergence() + seen.divergence())
    per_step = (action - batch[ACTION]).square().mean(dim=2) + error[:, None]
    assert not valid.all()
    torch.testing.assert_close(output.loss, per_step[valid].mean())
    assert output.weight == valid.sum() * 3


def test_one_batch_is_learnt_by_heart(estimator, batch, fit):
    policy = estimator(latent=16, divergence_weight=0.0)

    def loss():
        with torch.inference_mode():
            return policy(batch, Progress(0, 1, torch.Generator().manual_seed(1))).loss.item()

    before = loss()
    fit(policy, batch, steps=600)
    assert loss() < before / 20


def test_actions_that_do_not_follow_from_the_state_score_lower(estimator, fit):
    interface = Interface(obs_steps=1, chunk=2, control_hz=1.0, state=2, action=1)
    generator = torch.Generator().manual_seed(0)
    episodes, steps = 12, 40
    state = torch.rand(episodes * steps, 1, 2, generator=generator) * 4 - 2
    action = torch.stack([state[:, 0, 0], state[:, 0, 1]], dim=1)[..., None]
    episode = torch.arange(episodes).repeat_interleave(steps)
    noisy = episode % 3 == 0
    action[noisy] = action[noisy][torch.randperm(int(noisy.sum()), generator=generator)]
    batch = {
        STATE: state,
        ACTION: action,
        ACTION_IS_PAD: torch.zeros(len(state), 2, dtype=torch.bool),
        EPISODE_INDEX: episode,
    }
    policy = fit(estimator(interface, latent=2), batch, steps=200)
    order = torch.randperm(len(state), generator=generator)  # nobody says that samples are sorted
    halves = [{key: value[rows] for key, value in batch.items()} for rows in order.chunk(2)]
    scores = policy.score_episodes(iter(halves))
    assert sorted(scores) == list(range(episodes))
    good = [value for e, value in scores.items() if e % 3]
    bad = [value for e, value in scores.items() if e % 3 == 0]
    assert min(good) > max(bad) + 0.5


def test_too_few_samples_are_refused(estimator, batch):
    with pytest.raises(DataError, match="neighbours is 8, but there are 8 samples"):
        estimator(neighbours=8).score_episodes([batch])


def test_it_does_not_act(estimator, batch):
    with pytest.raises(UserError, match=r"scores episodes \(trainer/score\.py\)"):
        estimator().predict_action(batch, {}, [])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"chunk": 8}, r"chunk_embedder.inputs: expected \(8, 3\), got \(4, 3\)"),
        ({"state": 6}, r"state_decoder.outputs: expected \(2, 6\), got \(2, 5\)"),
    ],
)
def test_components_that_do_not_fit_the_interface_are_refused(estimator, change, complaint):
    policy = estimator()
    sizes = {"obs_steps": 2, "chunk": 4, "control_hz": 20.0, "state": 5, "action": 3} | change
    with pytest.raises(ConfigError, match=complaint):
        type(policy)(policy.components, Interface(**sizes), policy.loss)


def test_pictures_larger_than_the_cameras_are_refused():
    path = EXPERIMENTS / "exp1" / "mutual_information_estimator.yaml"
    large = [*SMALL["exp1"], "model.component_build_args.picture_decoder.grid=24"]
    experiment = load_experiment(path, large)
    with pytest.raises(ConfigError, match=r"pictures of 192 × 192 .* smallest side is 96"):
        build_run(experiment, dataset=FakeDataset(experiment.config.interface.to_interface()))


def test_pictures_are_compared_with_the_newest_of_their_own_camera(estimator):
    policy = estimator()
    decoder = PictureDecoder(latent=4, cameras=2, grid=1, channels=[2])
    nn.init.zeros_(decoder.layers[-1].weight)
    decoder.layers[-1].bias.data = torch.tensor([-1.0] * 3 + [1.0] * 3)  # the left one is black
    policy.components["picture_decoder"], policy.cameras = decoder, ("left", "right")
    black, white = (torch.full((8, 2, 3, 6, 6), value, dtype=torch.uint8) for value in (0, 255))
    white[:, 0] = 7  # an older one
    pictures = {IMAGE_PREFIX + "left": black, IMAGE_PREFIX + "right": white}
    batch = FakeDataset(Interface(2, 4, 20.0, 5, 3)).__getitems__(range(8)) | pictures
    output = policy(batch, Progress(0, 1, torch.Generator().manual_seed(0)))
    assert output.metrics["pictures"] == 0.0


@pytest.mark.slow
def test_one_batch_of_pictures_is_learnt_by_heart(fit):
    path = EXPERIMENTS / "exp1" / "mutual_information_estimator.yaml"
    changes = ["interface.chunk=4", "policy.params.divergence_weight=0"]
    experiment = load_experiment(path, [*SMALL["exp1"], *changes])
    interface = experiment.config.interface.to_interface()
    data = FakeDataset(interface)
    policy = build_run(experiment, dataset=data).policy
    # A colour each: what is tested is the way from pictures to pictures, not how to store noise.
    colours = torch.Generator().manual_seed(0)
    batch = data.__getitems__(range(8)) | {
        IMAGE_PREFIX + camera: torch.randint(0, 256, (8, 1, 3, 1, 1), generator=colours)
        .to(torch.uint8)
        .expand(8, 1, *shape)
        for camera, shape in interface.cameras.items()
    }

    def figures():
        progress = Progress(0, 1, torch.Generator().manual_seed(1))
        with torch.no_grad():
            return policy.eval()(batch, progress).metrics

    before = figures()
    fit(policy.train(), batch, steps=600)
    after = figures()
    for name in ("pictures", "state", "action"):
        assert after[name] < before[name] / 20, name


@pytest.fixture(scope="module", params=SMALL)
def train(request, tmp_path_factory):
    """Return a function that trains an experiment, made small, and returns its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    path = EXPERIMENTS / request.param / "mutual_information_estimator.yaml"
    interface = load_experiment(path).config.interface
    record(folder / "data" / "round_000", interface)
    overrides = [
        *SMALL[request.param],
        f"data.dataset.params.rounds=[{folder / 'data'}]",
        "data.batch_size=4",
        "train.steps=4",
        "train.save_every=2",
        "train.precision=fp32",
        "train.checkpoints={}",
        "logging=[]",
    ]

    def run(name, *changes, resume="auto"):
        settings = [*overrides, f"train.save_dir={folder / name}", *changes]
        experiment = load_experiment(path, settings)
        with started_run(experiment, Ranks(0, 1, torch.device("cpu")), resume) as loop:
            loop.train()
        return folder / name

    return run


def record(folder, interface):
    rng = np.random.default_rng(0)
    writer = RoundWriter(folder, "environment: {type: none, params: {}}\n")
    for number in range(4):
        steps = 45
        state = rng.normal(size=(steps, interface.state)).astype(np.float32)
        action = rng.normal(size=(steps, interface.action)).astype(np.float32)
        arrays = {
            "observation.state": state,
            "action": action,
            "executed_action": action,
            "action_valid": np.ones(steps, bool),
            "actor": np.zeros(steps, np.uint8),
            "reward": np.zeros(steps, np.float32),
            "terminated": np.zeros(steps, bool),
            "truncated": np.zeros(steps, bool),
        } | {
            IMAGE_PREFIX + camera: rng.integers(0, 256, (steps, *shape), dtype=np.uint8)
            for camera, shape in interface.cameras.items()
        }
        attributes = EpisodeAttributes(seed=number, success=True)
        writer.enter(write_episode(folder, f"r{number}", arrays, attributes))
    seal(folder)


@pytest.fixture(scope="module")
def whole(train):
    return train("whole")


def weights(checkpoint):
    return {
        path.name: torch.load(path, weights_only=True) for path in sorted(checkpoint.glob("*.pt"))
    }


def test_a_resumed_run_ends_with_the_same_bits(train, whole):
    resumed = train("resumed", resume=str(whole / "epoch_1"))
    before, after = weights(whole / "epoch_1"), weights(whole / "epoch_2")
    again = weights(resumed / "epoch_2")
    assert not any(equal_bits(before[name], after[name]) for name in before)
    assert all(equal_bits(after[name], again[name]) for name in after)


def test_scores_of_a_checkpoint_choose_the_best_episodes(whole, tmp_path, capsys):
    file = tmp_path / "scores.json"
    assert score.main(["--checkpoint", str(whole), "--output", str(file), "--device", "cpu"]) == 0
    assert "4 episodes score from" in capsys.readouterr().out
    content = json.loads(file.read_text())
    assert [entry["id"] for entry in content["episodes"]] == ["r0", "r1", "r2", "r3"]
    interface = load_experiment(whole / "epoch_2" / "config.yaml").config.interface.to_interface()
    choice = EpisodeScores(file=str(file), keep=0.5)
    rounds = [str(whole.parent / "data")]
    dataset = DaggerRounds(interface, tmp_path, rounds=rounds, episode_scores=choice)
    scores = [entry["score"] for entry in content["episodes"]]
    assert np.isfinite(scores).all()
    assert len(set(scores)) == 4
    assert set(dataset.episode_of_sample()) == set(np.argsort(scores)[2:])


def test_its_loss_is_validated_on_episodes_that_it_does_not_learn_from(train):
    folder = train("validated", "validation={fraction: 0.25, every: 1}")
    for epoch in ("epoch_1", "epoch_2"):
        figures = json.loads((folder / epoch / "metrics.json").read_text())
        assert list(figures) == ["validation/loss"]
        assert np.isfinite(figures["validation/loss"])


def test_an_evaluation_is_refused(train):
    with pytest.raises(ConfigError, match=r"evaluation: a mutual_information_estimator scores"):
        train("evaluated", "evaluation={every: 1}")
