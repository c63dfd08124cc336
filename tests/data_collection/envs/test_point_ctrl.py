import pytest
import torch

from data_collection.distillation.student_evaluation import play
from data_collection.distillation.teachers.geometric_controller import GeometricController
from data_collection.distillation.vec_env import SUCCESS, TIME_OUTS, ObservationSet
from data_collection.envs.point_ctrl import PointCtrl, PrivilegedState
from data_collection.envs.quadrotor import GRAVITY, Airframe

CPU = torch.device("cpu")
CALM = {"wind_m_per_s": 0.0, "payload_kg": 0.0, "position_noise_m": 0.0, "attitude_noise": 0.0}


def act_nothing(known_np, begins_n):
    return torch.zeros(len(begins_n), 4)


def teach(known_np, begins_n):
    return GeometricController(CPU)(known_np)


def played(act):
    env = PointCtrl(50, CPU, 1)
    return play(env, ObservationSet(["teacher"], env.get_observations(), "teacher"), act)


def test_sizes_are_those_of_the_contract():
    env = PointCtrl(3, CPU, 0, history=4)
    observations = env.get_observations()
    assert observations["student"].shape == (3, 4 * 13)
    assert observations["teacher"].shape == (3, 22)
    _, reward, done, extras = env.step(torch.zeros(3, 4))
    assert reward.shape == done.shape == extras[TIME_OUTS].shape == extras[SUCCESS].shape == (3,)


def test_the_teacher_reaches_every_goal_and_doing_nothing_reaches_none():
    teacher, idle = played(teach), played(act_nothing)
    assert teacher.success == 1.0
    assert teacher.length == 250
    assert teacher.reward > 190
    assert idle.success == 0.0
    assert idle.reward < 30


def test_the_reward_is_one_half_at_thirty_centimetres():
    env = PointCtrl(1, CPU, 0, **CALM)
    state = env.state_dict()
    state["state.position_n3"] = torch.tensor([[0.3, 0.0, 0.0]])
    for name in ("velocity_n3", "rates_n3"):
        state[f"state.{name}"] = torch.zeros(1, 3)
    state["state.quaternion_n4"] = torch.tensor([[1.0, 0, 0, 0]])
    env.load_state_dict(state)
    hover = 2 * Airframe().mass_kg * GRAVITY / Airframe().max_collective_n - 1
    _, reward, _, _ = env.step(torch.tensor([[hover, 0, 0, 0]]))
    assert float(reward) == pytest.approx(0.5, abs=1e-3)


def test_the_student_sees_late_poses_and_the_latest_command():
    env = PointCtrl(1, CPU, 0, history=1, delay=2, **CALM)
    truths = []
    for step in range(6):
        truths.append(PrivilegedState.unpack(env.get_observations()["teacher"]))
        seen = env.get_observations()["student"][0]
        if step >= 2:
            past = truths[step - 2]
            torch.testing.assert_close(seen[:3], past.position_n3[0])
            torch.testing.assert_close(seen[3:9], past.rotation_n33[0, :, :2].flatten())
            torch.testing.assert_close(seen[9:], torch.full((4,), 0.1 * (step - 1)))
        env.step(torch.full((1, 4), 0.1 * step))


def test_neither_wind_nor_mass_nor_speed_shows_at_once():
    """The student's first observation is the same in another wind and with another load."""
    seen = []
    for wind, load in ((0.0, 0.0), (1.5, 0.005)):
        env = PointCtrl(4, CPU, 0, wind_m_per_s=wind, payload_kg=load)
        seen.append(env.get_observations()["student"])
    assert torch.equal(*seen)
    truth = PrivilegedState.unpack(env.get_observations()["teacher"])
    assert truth.wind_n3.norm(dim=1).max() > 0.1
    assert truth.mass_n1.max() > Airframe().mass_kg


def test_noise_is_that_of_the_sensor_and_stays_in_the_picture():
    env = PointCtrl(4000, CPU, 0, history=2, history_stride=1, delay=0)
    truth = PrivilegedState.unpack(env.get_observations()["teacher"])
    first = env.get_observations()["student"][:, :9]
    exact = torch.cat([truth.position_n3, truth.rotation_n33[:, :, :2].flatten(1)], dim=1)
    torch.testing.assert_close((first - exact).std(0), torch.full((9,), 0.005), rtol=0.05, atol=0)
    env.step(torch.zeros(4000, 4))
    alive = env.episode_length_buf > 0
    assert torch.equal(env.get_observations()["student"][alive, 9:18], first[alive])


def test_lost_episodes_end_early_without_a_time_out_and_begin_anew():
    env = PointCtrl(20, CPU, 0)
    upside_down = torch.tensor([[1.0, 1.0, 0.0, 0.0]]).expand(20, 4)
    ended = torch.zeros(20, dtype=torch.bool)
    for _ in range(60):
        _, reward, done, extras = env.step(upside_down)
        assert not extras[TIME_OUTS].any()
        assert (reward[done] == 0).all()
        assert (env.episode_length_buf[done] == 0).all()
        ended |= done
    assert ended.all()
    truth = PrivilegedState.unpack(env.get_observations()["teacher"])
    assert truth.position_n3.norm(dim=1).max() < 3.0


def test_an_episode_times_out_after_its_length():
    env = PointCtrl(5, CPU, 0, episode_s=0.2)
    controller = GeometricController(CPU)
    for step in range(1, 25):
        _, _, done, extras = env.step(controller(env.get_observations()["teacher"]))
        assert done.tolist() == extras[TIME_OUTS].tolist() == [step % 10 == 0] * 5


def test_a_seed_decides_everything():
    runs = []
    for seed in (3, 3, 4):
        env = PointCtrl(6, CPU, seed)
        for _ in range(40):
            observations, *_ = env.step(torch.tensor([[0.2, 0.5, 0.1, 0.0]]).expand(6, 4))
        runs.append(observations["student"])
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_restored_environment_goes_on_with_the_same_bits():
    env, copy = PointCtrl(8, CPU, 0), PointCtrl(8, CPU, 99)
    action = torch.tensor([[0.1, 0.6, 0.2, 0.1]]).expand(8, 4)
    for _ in range(30):
        env.step(action)
    copy.load_state_dict({k: v.clone() for k, v in env.state_dict().items()})
    for _ in range(60):
        ours, theirs = env.step(action), copy.step(action)
        for key in ("student", "teacher"):
            assert torch.equal(ours[0][key], theirs[0][key])
        assert torch.equal(ours[1], theirs[1])
