"""How a policy sees: each camera's backbone, then the observation encoder.

Shape legend: B batch, To observation steps, T tokens of one picture, N observation tokens, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from components.models.contracts import (
    CAMERA_TOKENS_PREFIX,
    Backbone,
    ExpertDecoder,
    ObservationEncoder,
    VelocityDecoder,
    check_components,
    check_fit,
    component,
)
from components.models.depth_stream import DEPTH_STREAM, DepthStream
from components.models.task_embedding import TaskEmbedding
from trainer.errors import ConfigError, nearest
from trainer.interfaces import IMAGE_PREFIX, TASK, Batch, Interface

_OPTIONAL = ("depth_stream", "task_embedding")


@dataclass(frozen=True)
class Seen:
    """Observation tokens (B, N, D), and depth (B, To, 1, h, w) in metres if it is estimated."""

    tokens_bnd: Tensor
    depth_bo1hw: Tensor | None


class Observer:
    """The components of a policy that turn observations into tokens. It owns no weights.

    Backbones are components of their own, so that ``component_optims`` can freeze or slow down
    each: one named ``backbone`` serves all cameras, in a single call; otherwise each camera has its
    ``backbone_<camera>``. A ``depth_stream`` adds a visual stream, and a ``task_embedding`` a token
    that says which of several tasks it is; both can be left out.

    Args:
        components: All components of the policy.
        interface: What the policy sees.
        others: Names of the components which do something else.
        teaches_depth: Whether the policy has a loss for depth that is estimated.

    Raises:
        ConfigError: A component is missing, surplus, or does not fit the cameras; or nothing would
            teach a ``depth_stream`` that has to learn.
    """

    def __init__(
        self,
        components: nn.ModuleDict,
        interface: Interface,
        others: Sequence[str],
        *,
        teaches_depth: bool = False,
    ) -> None:
        self.components = components
        self._shared = "backbone" in components
        self._backbones = {
            camera: "backbone" if self._shared else f"backbone_{camera}"
            for camera in interface.cameras
        }
        names = ["observation_encoder", *dict.fromkeys(self._backbones.values())]
        present = [name for name in _OPTIONAL if name in components]
        check_components(components, [*names, *others, *present])
        encoder = self.encoder
        streams = [*interface.cameras, *([DEPTH_STREAM] if self.depth_stream else [])]
        check_fit("observation_encoder.cameras", encoder.cameras, tuple(streams))
        for camera, name in self._backbones.items():
            backbone = component(components, name, Backbone)
            check_fit(f"{name}.image ({camera})", backbone.image, interface.cameras[camera])
            self._check_tokens(name, backbone.tokens, backbone.token_dim)
        self._check_optional(interface, teaches_depth=teaches_depth)

    @property
    def encoder(self) -> ObservationEncoder:
        """The component that turns normalised observations into tokens."""
        return component(self.components, "observation_encoder", ObservationEncoder)

    @property
    def depth_stream(self) -> DepthStream | None:
        """The component that sees depth, if there is one."""
        if "depth_stream" not in self.components:
            return None
        return component(self.components, "depth_stream", DepthStream)

    @property
    def task_embedding(self) -> TaskEmbedding | None:
        """The component that says which task it is, if there are several."""
        if "task_embedding" not in self.components:
            return None
        return component(self.components, "task_embedding", TaskEmbedding)

    @property
    def tokens(self) -> int:
        """How many observation tokens there are."""
        return self.encoder.tokens + (self.task_embedding is not None)

    @property
    def needs(self) -> tuple[str, ...]:
        """Batch keys it cannot do without, beside the state and the cameras."""
        return (TASK,) if self.task_embedding else ()

    def __call__(self, batch: Batch) -> Tensor:
        """Return the observation tokens (B, N, D) of a normalised batch."""
        return self.look(batch).tokens_bnd

    def look(self, batch: Batch) -> Seen:
        """Return what is seen in a normalised batch."""
        pictures = {camera: batch[IMAGE_PREFIX + camera] for camera in self._backbones}
        tokens = self._camera_tokens(pictures)
        depth_bo1hw = None
        if stream := self.depth_stream:
            steps = pictures[stream.camera].shape[:2]
            view = stream(
                pictures[stream.camera].flatten(0, 1), tokens[stream.camera].flatten(0, 1)
            )
            tokens[DEPTH_STREAM] = view.tokens_ntd.unflatten(0, steps)
            if view.depth_n1hw is not None:
                depth_bo1hw = view.depth_n1hw.unflatten(0, steps)
        named = {CAMERA_TOKENS_PREFIX + name: value for name, value in tokens.items()}
        tokens_bnd = self.encoder(batch | named)
        if embedding := self.task_embedding:
            tokens_bnd = torch.cat([tokens_bnd, embedding(batch)], dim=1)
        return Seen(tokens_bnd, depth_bo1hw)

    def _camera_tokens(self, pictures: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tokens (B, To, T, D) of each camera's pictures (B, To, C, H, W)."""
        if not self._shared:
            return {c: self._view(self._backbones[c], seen) for c, seen in pictures.items()}
        together = self._view("backbone", torch.cat(list(pictures.values())))
        return dict(zip(pictures, together.chunk(len(pictures)), strict=True))

    def _view(self, name: str, images_bochw: Tensor) -> Tensor:
        """Return the tokens (B, To, T, D) of the pictures (B, To, C, H, W)."""
        tokens = self.components[name](images_bochw.flatten(0, 1))
        return tokens.unflatten(0, images_bochw.shape[:2])

    def _check_optional(self, interface: Interface, *, teaches_depth: bool) -> None:
        if stream := self.depth_stream:
            if stream.estimates and not teaches_depth:
                raise ConfigError(
                    "depth_stream: it has to learn depth, which this policy has no loss for; use "
                    "policy vfp_single_expert, or a depth_stream that knows, such as depth_anything"
                )
            if stream.camera not in interface.cameras:
                raise ConfigError(
                    f"depth_stream.camera: there is no camera {stream.camera!r}"
                    f"{nearest(stream.camera, interface.cameras)}; interface.cameras has "
                    f"{', '.join(interface.cameras)}"
                )
            self._check_tokens("depth_stream", stream.tokens, stream.token_dim)
        if embedding := self.task_embedding:
            check_fit("task_embedding.dim", embedding.dim, self.encoder.token_dim)

    def _check_tokens(self, name: str, tokens: int, token_dim: int) -> None:
        check_fit(
            f"observation_encoder's (image_tokens, image_token_dim) from {name}",
            (self.encoder.image_tokens, self.encoder.image_token_dim),
            (tokens, token_dim),
        )


def check_decoder(
    decoder: VelocityDecoder | ExpertDecoder, interface: Interface, observer: Observer
) -> None:
    """Raise ConfigError when ``action_decoder`` fits neither the interface nor the tokens."""
    check_fit("action_decoder.chunk", decoder.chunk, interface.chunk)
    check_fit("action_decoder.action", decoder.action, interface.action)
    check_fit("action_decoder.memory_dim", decoder.memory_dim, observer.encoder.token_dim)
