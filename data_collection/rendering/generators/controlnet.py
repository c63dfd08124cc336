"""Pictures by Stable Diffusion, held to the scene's depth by a ControlNet, a prompt for each mask.

Shape legend: B scenes of a batch, h and w as the network sees them, H and W as the camera does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import interpolate

from data_collection.rendering.generators import Generator, Scene, generators
from trainer.errors import ConfigError
from trainer.schema import Device

if TYPE_CHECKING:
    import diffusers

_MULTIPLE = 64
"""The networks halve a picture's sides six times in all."""

_SCHEDULERS = {
    "lcm": "LCMScheduler",
    "unipc": "UniPCMultistepScheduler",
    "dpm": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
}

_Callback = Callable[[object, int, object, Mapping[str, Tensor]], dict[str, Tensor]]


@generators.register("controlnet")
class ControlNet(Generator):
    """Denoises each scene under its two prompts in step, and joins them by the mask at every step.

    So objects follow the foreground's prompt, all else the background's, and the two fit together
    (Bar-Tal et al., MultiDiffusion, 2023, with a mask for each prompt). The network always sees
    ``batch_size`` scenes, the last one repeated where fewer are left, so that a picture does not
    depend on how many others are asked for with it.

    Args:
        base: A Stable Diffusion 1 or 2 model: an id on the hub, or a local folder. One that is
            distilled to few steps goes with ``scheduler: lcm``.
        controlnet: A depth ControlNet for it, likewise.
        scheduler: How noise is taken away.
        steps: Evaluations of the network.
        guidance_scale: How strictly the prompts are followed; up to 1 costs half the time.
        conditioning_scale: How strictly the depth is.
        negative_prompt: What should not be seen.
        size: Pixels of a picture's shorter side, a multiple of 64; pictures are scaled to and fro.
        batch_size: Scenes in one evaluation.
        precision: ``auto`` is fp16 on a GPU and fp32 elsewhere.
        device: ``auto`` takes a GPU where there is one.
        root: What relative paths start from.

    Raises:
        ConfigError: diffusers is not installed, or a model cannot be had as safetensors.
    """

    def __init__(
        self,
        *,
        base: str,
        controlnet: str,
        scheduler: Literal["lcm", "unipc", "dpm", "euler"] = "lcm",
        steps: PositiveInt = 4,
        guidance_scale: NonNegativeFloat = 1.0,
        conditioning_scale: NonNegativeFloat = 1.0,
        negative_prompt: str = "",
        size: PositiveInt = 512,
        batch_size: PositiveInt = 1,
        precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto",
        device: Device = "auto",
        root: Path,
    ) -> None:
        if size % _MULTIPLE:
            raise ConfigError(f"size: expected a multiple of {_MULTIPLE} pixels, got {size}")
        self._device = _device(device)
        self._pipeline = _load(base, controlnet, scheduler, _dtype(precision, self._device), root)
        self._pipeline.to(self._device)
        self._steps = steps
        self._guidance_scale = guidance_scale
        self._conditioning_scale = conditioning_scale
        self._negative_prompt = negative_prompt
        self._size = size
        self._batch_size = batch_size

    def generate(self, scenes: Sequence[Scene]) -> list[np.ndarray]:
        """Return a picture (H, W, 3) uint8 of each scene."""
        pictures: dict[int, np.ndarray] = {}
        for shape in dict.fromkeys(scene.depth_hw.shape for scene in scenes):
            alike = [i for i, scene in enumerate(scenes) if scene.depth_hw.shape == shape]
            for start in range(0, len(alike), self._batch_size):
                chosen = alike[start : start + self._batch_size]
                padded = [*chosen, *[chosen[-1]] * (self._batch_size - len(chosen))]
                made = self._batch([scenes[i] for i in padded])
                pictures |= dict(zip(chosen, made, strict=False))
        return [pictures[i] for i in range(len(scenes))]

    @torch.no_grad()
    def _batch(self, scenes: Sequence[Scene]) -> list[np.ndarray]:
        """Return the pictures of scenes of one shape, all evaluated together."""
        height, width = scenes[0].depth_hw.shape
        sides = _network_sides(height, width, self._size)
        nearness_b1hw = torch.stack([_nearness(scene.depth_hw) for scene in scenes])
        control = interpolate(nearness_b1hw, sides, mode="bilinear").expand(-1, 3, -1, -1)
        mask_b1hw = torch.stack([torch.from_numpy(scene.mask_hw != 0)[None] for scene in scenes])
        latent_sides = tuple(side // self._pipeline.vae_scale_factor for side in sides)
        mask = interpolate(mask_b1hw.float(), latent_sides, mode="area").to(self._device)
        prompts = [text for s in scenes for text in (s.prompt.foreground, s.prompt.background)]
        # Both prompts of a scene start from the same noise, and get the same noise on the way.
        noise = [torch.Generator().manual_seed(s.seed) for s in scenes for _ in range(2)]
        (latents, _) = self._pipeline(
            prompt=prompts,
            negative_prompt=[self._negative_prompt] * len(prompts),
            image=control.repeat_interleave(2, dim=0).to(self._device),
            height=sides[0],
            width=sides[1],
            num_inference_steps=self._steps,
            guidance_scale=self._guidance_scale,
            controlnet_conditioning_scale=self._conditioning_scale,
            generator=noise,
            output_type="latent",
            callback_on_step_end=_joining(mask),  # type: ignore[arg-type] - typed as it once was
            return_dict=False,
        )
        vae = self._pipeline.vae
        decoded = vae.decode(latents[::2] / vae.config.scaling_factor).sample
        small = interpolate(decoded.float() / 2 + 0.5, (height, width), mode="area").clamp(0, 1)
        return list((255 * small).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy())


def _joining(mask_b1hw: Tensor) -> _Callback:
    """Return what joins the latents of each pair of prompts after every step."""

    def join(
        pipeline: object, step: int, timestep: object, tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        latents = tensors["latents"]
        mask = mask_b1hw.to(latents.dtype)
        joined = mask * latents[0::2] + (1 - mask) * latents[1::2]
        return {"latents": joined.repeat_interleave(2, dim=0)}

    return join


def _nearness(depth_hw: np.ndarray) -> Tensor:
    """Return (1, H, W) from 0, farthest, to 1: inverse depth, as depth networks give it."""
    inverse_hw = 1 / torch.from_numpy(np.asarray(depth_hw, np.float32).copy())
    low, high = inverse_hw.min(), inverse_hw.max()
    return ((inverse_hw - low) / (high - low).clamp(min=1e-6))[None]


def _network_sides(height: int, width: int, size: int) -> tuple[int, int]:
    """Return the sides of what the network sees: the shorter one is ``size``."""
    scale = size / min(height, width) / _MULTIPLE
    return round(height * scale) * _MULTIPLE, round(width * scale) * _MULTIPLE


def _device(choice: Device) -> torch.device:
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if choice == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: cuda was asked for, but there is no GPU here")
    return torch.device(choice)


def _dtype(precision: Literal["auto", "fp32", "fp16", "bf16"], device: torch.device) -> torch.dtype:
    if precision == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def _load(
    base: str, controlnet: str, scheduler: str, dtype: torch.dtype, root: Path
) -> diffusers.StableDiffusionControlNetPipeline:
    """Return the pipeline; raise ConfigError when a part of it cannot be had."""
    try:
        library = importlib.import_module("diffusers")
    except ImportError as error:
        raise ConfigError(
            "controlnet needs diffusers: pip install 'offline-trainer[diffusion]'"
        ) from error
    name, source = "controlnet", controlnet
    try:
        # Safetensors alone: other formats can hold code.
        control = library.ControlNetModel.from_pretrained(
            _local(controlnet, root), torch_dtype=dtype, use_safetensors=True
        )
        name, source = "base", base
        pipeline = library.StableDiffusionControlNetPipeline.from_pretrained(
            _local(base, root),
            controlnet=control,
            safety_checker=None,
            requires_safety_checker=False,
            torch_dtype=dtype,
            use_safetensors=True,
        )
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{name}: {source!r} is neither a local folder nor a model that can be had from the "
            f"hub: {error}"
        ) from error
    kind = getattr(library, _SCHEDULERS[scheduler])
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _local(source: str, root: Path) -> str:
    """Return the folder that ``source`` names below ``root``, or else the id itself."""
    folder = root / Path(source).expanduser()
    return str(folder) if folder.is_dir() else source
