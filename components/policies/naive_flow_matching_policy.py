"""Plain flow matching over action chunks.

Shape legend: B batch, H action-chunk steps, A action, N observation tokens, D token width.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from components.models.contracts import VelocityDecoder, check_fit, component
from components.models.flow import SolverName, beta_times, integrate, noisy_chunk
from components.models.observer import Observer
from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    Batch,
    Interface,
    Loss,
    LossOutput,
    Policy,
    Progress,
    State,
)
from trainer.ops import randn_rows
from trainer.registry import policies


@policies.register("naive_flow_matching_policy")
class NaiveFlowMatchingPolicy(Policy):
    """Learns the velocity from noise to the action chunk along straight paths.

    Source: Lipman et al., Flow Matching for Generative Modeling, 2023, eq. 23.

    Args:
        components: ``observation_encoder``, its cameras' backbones (see ``Observer``) and
            ``action_decoder``.
        interface: What the policy sees and does.
        loss: Compares the velocity with action - noise.
        solver: How an action is integrated; ``dopri5`` takes one row at a time, because its steps
            depend on everything it integrates together.
        num_steps: Integration steps of ``euler`` and ``midpoint``.
        tolerance: Absolute and relative error of ``dopri5``.
        time_beta: Training times are distributed as Beta(1, time_beta).
        time_cutoff: Largest training time.
    """

    def __init__(
        self,
        components: nn.ModuleDict,
        interface: Interface,
        loss: Loss,
        *,
        solver: SolverName = "euler",
        num_steps: PositiveInt = 10,
        tolerance: PositiveFloat = 1e-5,
        time_beta: PositiveFloat = 1.5,
        time_cutoff: Annotated[float, Field(gt=0, le=1)] = 0.999,
    ) -> None:
        super().__init__()
        self.observer = Observer(components, interface, others=["action_decoder"])
        self.components = components
        self.loss = loss
        self.solver: SolverName = solver
        self.num_steps = num_steps
        self.tolerance = tolerance
        self.time_beta = time_beta
        self.time_cutoff = time_cutoff
        decoder = self.decoder
        check_fit("action_decoder.chunk", decoder.chunk, interface.chunk)
        check_fit("action_decoder.action", decoder.action, interface.action)
        check_fit("action_decoder.memory_dim", decoder.memory_dim, self.observer.encoder.token_dim)

    @property
    def decoder(self) -> VelocityDecoder:
        """The component that predicts velocities."""
        return component(self.components, "action_decoder", VelocityDecoder)

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return the masked loss between predicted velocity and action - noise."""
        batch = self.normalizer.normalize(batch)
        action_bha = batch[ACTION]
        generator = progress.generator
        time_b = beta_times(
            len(action_bha), self.time_beta, self.time_cutoff, generator, action_bha.device
        )
        sample = noisy_chunk(action_bha, time_b, generator)
        memory = self.decoder.remember(self.observer(batch))
        velocity_bha = self.decoder(sample.x_t, time_b, memory).float()
        return self.loss(velocity_bha, sample.dx_t, ~batch[ACTION_IS_PAD])

    def predict_action(
        self, observation: Batch, state: State, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, State]:
        """Return a chunk integrated from noise, in real units."""
        memory_bnd = self.observer(self.normalizer.normalize(observation))
        shape = (self.decoder.chunk, self.decoder.action)
        noise_bha = randn_rows(shape, generators, memory_bnd.device)
        rows = 1 if self.solver == "dopri5" else len(noise_bha)
        parts = zip(memory_bnd.split(rows), noise_bha.split(rows), strict=True)
        action_bha = torch.cat([self._integrate(memory, noise) for memory, noise in parts])
        return self.normalizer.unnormalize_action(action_bha, observation), state

    def _integrate(self, memory_bnd: Tensor, noise_bha: Tensor) -> Tensor:
        """Return the chunk (B, H, A) in normalised units."""
        memory = self.decoder.remember(memory_bnd)
        return integrate(
            lambda x_bha, time_b: self.decoder(x_bha, time_b, memory).float(),
            noise_bha,
            self.solver,
            self.num_steps,
            self.tolerance,
        )
