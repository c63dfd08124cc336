"""Diffusion policy.

Shape legend: B batch, H action-chunk steps, A action, N observation tokens, D token width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from components.models.contracts import VelocityDecoder, component
from components.models.observer import Observer, check_decoder
from trainer.errors import ConfigError
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
from trainer.ops import hide_padding, randn_rows
from trainer.registry import policies

if TYPE_CHECKING:
    from diffusers import DDIMScheduler

PredictionType = Literal["epsilon", "sample", "v_prediction"]
TimestepSpacing = Literal["leading", "trailing"]


@policies.register("diffusion_policy")
class DiffusionPolicy(Policy):
    """Learns to take noise off action chunks; acts by DDIM from pure noise.

    Sources: Chi et al., Diffusion Policy, 2023, eqs. 4-5; training as in Ho et al., Denoising
    Diffusion Probabilistic Models, 2020, algorithm 1; sampling by Song et al., Denoising Diffusion
    Implicit Models, 2021, eq. 12 with sigma = 0; noise by the cosine schedule of Nichol and
    Dhariwal, Improved DDPM, 2021, eq. 17.

    Args:
        components: ``observation_encoder``, its cameras' backbones (see ``Observer``) and
            ``action_decoder``, which predicts what ``prediction_type`` says in place of a velocity
            and is told the timestep as its share of ``train_steps``.
        interface: What the policy sees and does.
        loss: Compares the decoder's prediction with its target.
        train_steps: Noise levels in training.
        num_steps: Noise levels visited when acting, each one evaluation of the decoder.
        prediction_type: The noise (``epsilon``), the action (``sample``), or ``v_prediction`` of
            Salimans and Ho, Progressive Distillation, 2022, appendix D.
        timestep_spacing: ``leading`` as in Chi et al. ends at the lowest noise level, but starts
            below the highest; ``trailing`` starts there, as few steps need (Lin et al., Common
            Diffusion Noise Schedules and Sample Steps Are Flawed, 2024, section 3.3).
        clip_sample: Bound of the predicted action in normalised units at each step; 1 for actions
            scaled by ``min_max``, none where they are unbounded.

    Raises:
        ConfigError: A number of ``num_steps`` that would not begin at noise; components that do
            not fit; or diffusers is not installed.
    """

    def __init__(
        self,
        components: nn.ModuleDict,
        interface: Interface,
        loss: Loss,
        *,
        train_steps: PositiveInt = 100,
        num_steps: PositiveInt = 10,
        prediction_type: PredictionType = "epsilon",
        timestep_spacing: TimestepSpacing = "leading",
        clip_sample: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        _check_steps(num_steps, train_steps, timestep_spacing)
        self.observer = Observer(components, interface, others=["action_decoder"])
        self.components = components
        self.loss = loss
        self.train_steps = train_steps
        self.num_steps = num_steps
        self.prediction_type = prediction_type
        self.scheduler = _ddim(train_steps, prediction_type, timestep_spacing, clip_sample)
        self.needs = self.observer.needs
        check_decoder(self.decoder, interface, self.observer)

    @property
    def decoder(self) -> VelocityDecoder:
        """The component that predicts noise, action or v."""
        return component(self.components, "action_decoder", VelocityDecoder)

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return the masked loss of the prediction at a random noise level."""
        batch = self.normalizer.normalize(batch)
        generator = progress.generator
        action_bha = hide_padding(batch[ACTION], batch[ACTION_IS_PAD], generator)
        timestep_b = torch.randint(
            self.train_steps, (len(action_bha),), generator=generator, device=generator.device
        ).to(action_bha.device)
        noise_bha = torch.randn(action_bha.shape, generator=generator, device=generator.device)
        noise_bha = noise_bha.to(action_bha)
        noisy_bha = self.scheduler.add_noise(
            action_bha,
            noise_bha,
            timestep_b,  # type: ignore[arg-type] - any tensor of integers will do
        )
        memory = self.decoder.remember(self.observer(batch))
        prediction_bha = self.decoder(noisy_bha, timestep_b / self.train_steps, memory).float()
        target_bha = self._target(action_bha, noise_bha, timestep_b)
        return self.loss(prediction_bha, target_bha, ~batch[ACTION_IS_PAD])

    def predict_action(
        self, observation: Batch, state: State, generators: Sequence[torch.Generator]
    ) -> tuple[Tensor, State]:
        """Return a chunk denoised from noise, in real units."""
        memory_bnd = self.observer(self.normalizer.normalize(observation))
        memory = self.decoder.remember(memory_bnd)
        shape = (self.decoder.chunk, self.decoder.action)
        action_bha = randn_rows(shape, generators, memory_bnd.device)
        self.scheduler.set_timesteps(self.num_steps)
        for timestep in self.scheduler.timesteps.tolist():
            time_b = action_bha.new_full((len(action_bha),), timestep / self.train_steps)
            prediction_bha = self.decoder(action_bha, time_b, memory).float()
            action_bha = self.scheduler.step(
                prediction_bha, timestep, action_bha, return_dict=False
            )[0]
        return self.normalizer.unnormalize_action(action_bha, observation), state

    def _target(self, action_bha: Tensor, noise_bha: Tensor, timestep_b: Tensor) -> Tensor:
        """Return what the decoder should predict (B, H, A)."""
        if self.prediction_type == "epsilon":
            return noise_bha
        if self.prediction_type == "sample":
            return action_bha
        return self.scheduler.get_velocity(
            action_bha,
            noise_bha,
            timestep_b,  # type: ignore[arg-type] - likewise
        )


def _check_steps(num_steps: int, train_steps: int, spacing: TimestepSpacing) -> None:
    """Raise ConfigError when DDIM cannot walk from noise to an action in so many steps.

    It goes by ``train_steps // num_steps`` levels. What that leaves over is left out at the top,
    or, with ``trailing``, put between levels, of which DDIM then knows nothing.
    """

    def can_walk(steps: int) -> bool:
        stride, left_over = divmod(train_steps, steps)
        return left_over <= (stride if spacing == "leading" else 0)

    if num_steps > train_steps or not can_walk(num_steps):
        possible = [n for n in range(1, train_steps + 1) if can_walk(n)]
        fewer = [n for n in possible if n < num_steps][-1:]
        more = [n for n in possible if n > num_steps][:1]
        raise ConfigError(
            f"num_steps: with {train_steps} train_steps and timestep_spacing: {spacing}, "
            f"{num_steps} steps would not take the noise off evenly; "
            f"{' or '.join(map(str, fewer + more))} would"
        )


def _ddim(
    train_steps: int,
    prediction_type: PredictionType,
    timestep_spacing: TimestepSpacing,
    clip_sample: float | None,
) -> DDIMScheduler:
    """Return the noise schedule; it holds no weights."""
    try:
        from diffusers import DDIMScheduler  # here: an extra, and slow to import
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the policy diffusion_policy needs {error.name}; install this project with its "
            "diffusion extra"
        ) from error
    return DDIMScheduler(
        num_train_timesteps=train_steps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=prediction_type,
        timestep_spacing=timestep_spacing,
        clip_sample=clip_sample is not None,
        clip_sample_range=clip_sample or 1.0,
    )
