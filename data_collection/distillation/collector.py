"""Steps the environment for one iteration and appends what happened to the history.

Shape legend: N environments, T steps, S what the student sees, P what the teacher sees, A action,
W width of a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from data_collection.distillation.acting_student import ActingStudent
from data_collection.distillation.episode_log import EpisodeLog
from data_collection.distillation.history import History
from data_collection.distillation.phases import Phase
from data_collection.distillation.teachers import VectorTeacher
from data_collection.distillation.vec_env import SUCCESS, ObservationSet, VecEnv
from trainer.errors import DataError
from trainer.interfaces import ACTION, MEMORY_PREFIX, STATE

_LOG = "log"
"""Key of a step's extras under which RSL-RL's environments give figures to be logged."""


class Collector:
    """Goes on, iteration after iteration, where the environment stands.

    Args:
        env: What is stepped.
        teacher: Says what is right in every state.
        student: Acts, once it is its turn.
        history: Where the transitions go.
        sees: What the student sees.
        knows: What the teacher sees.
        generator: Decides who acts, where the stages are blended.
    """

    def __init__(
        self,
        env: VecEnv,
        teacher: VectorTeacher,
        student: ActingStudent,
        history: History,
        *,
        sees: ObservationSet,
        knows: ObservationSet,
        generator: torch.Generator,
    ) -> None:
        self.env = env
        self.episodes = EpisodeLog(env.num_envs)
        self.logged: dict[str, float] = {}
        """The environment's own figures of the last step."""
        self._teacher, self._student = teacher, student
        self._history = history
        self._sees, self._knows = sees, knows
        self._generator = generator
        self._steps_done = 0
        steps, envs, device = history.layout.steps, env.num_envs, env.device
        self._rewards_tn = torch.zeros(steps, envs, device=device)
        self._dones_tn = torch.zeros(steps, envs, dtype=torch.bool, device=device)
        self._success_tn = torch.zeros(steps, envs, dtype=torch.bool, device=device)
        self._known_tnp = torch.zeros(steps, envs, knows.size, device=device)
        self._begins_n = torch.ones(envs, dtype=torch.bool, device=device)
        self._frame_n = torch.zeros(envs, dtype=torch.int32, device=device)
        self._observations = env.get_observations()

    def collect(self, phase: Phase) -> Tensor:
        """Step all environments T times and return the new rows (T, N, W), which are stored.

        Raises:
            DataError: An observation or reward is not finite.
        """
        # Claimed out here: what is made in inference mode could not be written to elsewhere.
        rows_tnw, frames_tn = self._history.claim_block()
        with torch.inference_mode():
            self._fill(rows_tnw, frames_tn, phase)
        return rows_tnw

    def _fill(self, rows_tnw: Tensor, frames_tn: Tensor, phase: Phase) -> None:
        fields = self._history.ring.split(rows_tnw)
        states_tns, labels_tna = fields[STATE], fields[ACTION]
        # Taken apart once: views that are made at every step would cost more than the copies.
        states, labels, known = states_tns.unbind(), labels_tna.unbind(), self._known_tnp.unbind()
        rewards, dones = self._rewards_tn.unbind(), self._dones_tn.unbind()
        share = phase.student_share
        has_success, extras = False, {}
        self._success_tn.zero_()  # a step that does not say is none
        begins_n = self._begins_n
        for t in range(len(rows_tnw)):
            seen_ns, known_np = self._sees(self._observations), self._knows(self._observations)
            states[t].copy_(seen_ns)
            known[t].copy_(known_np)
            self._student.observe(seen_ns, begins_n)
            for name in self._history.layout.memory:
                fields[MEMORY_PREFIX + name][t] = self._student.memory[name].flatten(1)
            if share == 1.0:
                action_na = self._student.act()
            else:
                action_na = self._teacher(known_np)
                labels[t].copy_(action_na)
                if share > 0.0 or self._student.has_memory:
                    action_na = torch.where(
                        self._student_acts(share), self._student.act(), action_na
                    )
            self._observations, reward_n, done_n, extras = self.env.step(action_na)
            rewards[t].copy_(reward_n)
            dones[t].copy_(done_n)
            begins_n = dones[t]
            if SUCCESS in extras:
                has_success = True
                self._success_tn[t] = extras[SUCCESS]
        if share == 1.0:  # nobody waited for the labels, so they are made in one call
            labels_tna.copy_(self._teacher(self._known_tnp.flatten(0, 1)).view_as(labels_tna))
        self._enter_frames(frames_tn)
        self._begins_n = begins_n.clone()
        self._check(states_tns, labels_tna)
        self.episodes.add(
            self._rewards_tn, self._dones_tn, self._success_tn if has_success else None
        )
        self.logged = _figures(extras.get(_LOG))
        self._steps_done += len(rows_tnw)

    def state_dict(self) -> dict[str, Tensor]:
        """Return where the episodes stand, without the environment's own state."""
        return {
            "steps_done": torch.tensor(self._steps_done),
            "begins": self._begins_n,
            "frame": self._frame_n,
            "generator": self._generator.get_state(),
            **{f"episodes.{name}": value for name, value in self.episodes.state_dict().items()},
            **{f"student.{name}": value for name, value in self._student.state_dict().items()},
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what ``state_dict`` returned; the environment is there already."""
        self._steps_done = int(state["steps_done"])
        self._begins_n = state["begins"].to(self._begins_n.device)
        self._frame_n = state["frame"].to(self._frame_n.device)
        self._generator.set_state(state["generator"].cpu())
        for prefix, part in (("episodes.", self.episodes), ("student.", self._student)):
            part.load_state_dict(
                {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
            )
        self._observations = self.env.get_observations()

    def _student_acts(self, share: float) -> Tensor:
        """Return where the student acts (N, 1)."""
        uniform_n1 = torch.rand(
            len(self._begins_n), 1, generator=self._generator, device=self._generator.device
        )
        return uniform_n1 < share

    def _enter_frames(self, frames_tn: Tensor) -> None:
        """Write which step of its episode each row is."""
        begins_tn = torch.cat([self._begins_n[None], self._dones_tn[:-1]])
        step_t1 = torch.arange(len(frames_tn), dtype=torch.int32, device=frames_tn.device)[:, None]
        # The step, from now, at which each running episode began.
        began_tn = torch.where(begins_tn, step_t1, -self._frame_n).cummax(0).values
        frames_tn.copy_(step_t1 - began_tn)
        self._frame_n = torch.where(self._dones_tn[-1], 0, frames_tn[-1] + 1)

    def _check(self, states_tns: Tensor, labels_tna: Tensor) -> None:
        """Raise DataError for the first value that is not finite; one look at the device."""
        values = (states_tns, labels_tna, self._rewards_tn)
        if math.isfinite(sum(each.sum(dtype=torch.float32) for each in values)):
            return
        found = []
        for what, values in (
            ("an observation of the student", states_tns),
            ("the teacher's observation", self._known_tnp),
            ("the teacher's action", labels_tna),
            ("the reward", self._rewards_tn[..., None]),
        ):
            bad = (~values.isfinite()).any(dim=2).nonzero().tolist()
            if bad:
                found.append((what, values, bad))
        if not found:
            return  # only their sum is too large
        # Of several the earliest, where the others come from; in one step the one that is first.
        what, values, bad = min(found, key=lambda each: each[2][0][0])
        step, env = bad[0]
        raise DataError(
            f"environment {env} gave a value that is not finite at step {self._steps_done + step} "
            f"({what}, {len(bad)} of {values[..., 0].numel()} in this iteration); "
            f"{_advice(values[step, env])}; nothing was learnt from it"
        )


def _advice(values: Tensor) -> str:
    """Return what to do about values of one state, some of which are not finite."""
    if values.dtype == torch.float16 and not values.isnan().any():
        return (
            "it was stored as float16, whose largest number is 65,504: set "
            "algorithm.storage_dtype: float32, or look for what the simulation did there"
        )
    return "look for what the simulation did there"


def _figures(logged: Mapping[str, Tensor | float] | None) -> dict[str, float]:
    """Return the means of an environment's own figures."""
    return {
        name.lstrip("/"): float(torch.as_tensor(value, dtype=torch.float64).mean())
        for name, value in (logged or {}).items()
    }
