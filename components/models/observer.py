"""How a policy sees: each camera's backbone, then the observation encoder.

Shape legend: B batch, To observation steps, T tokens of one picture, N observation tokens, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from components.models.contracts import (
    CAMERA_TOKENS_PREFIX,
    Backbone,
    ObservationEncoder,
    check_components,
    check_fit,
    component,
)
from trainer.interfaces import IMAGE_PREFIX, Batch, Interface


class Observer:
    """The components of a policy that turn observations into tokens. It owns no weights.

    Backbones are components of their own, so that ``component_optims`` can freeze or slow down
    each: one named ``backbone`` serves all cameras, in a single call; otherwise each camera has its
    ``backbone_<camera>``.

    Args:
        components: All components of the policy.
        interface: What the policy sees.
        others: Names of the components which do something else.

    Raises:
        ConfigError: A component is missing, surplus, or does not fit the cameras.
    """

    def __init__(
        self, components: nn.ModuleDict, interface: Interface, others: Sequence[str]
    ) -> None:
        self.components = components
        self._shared = "backbone" in components
        self._backbones = {
            camera: "backbone" if self._shared else f"backbone_{camera}"
            for camera in interface.cameras
        }
        names = ["observation_encoder", *dict.fromkeys(self._backbones.values())]
        check_components(components, [*names, *others])
        encoder = self.encoder
        check_fit("observation_encoder.cameras", encoder.cameras, tuple(interface.cameras))
        for camera, name in self._backbones.items():
            backbone = component(components, name, Backbone)
            check_fit(f"{name}.image ({camera})", backbone.image, interface.cameras[camera])
            check_fit(
                f"observation_encoder's (image_tokens, image_token_dim) from {name}",
                (encoder.image_tokens, encoder.image_token_dim),
                (backbone.tokens, backbone.token_dim),
            )

    @property
    def encoder(self) -> ObservationEncoder:
        """The component that turns normalised observations into tokens."""
        return component(self.components, "observation_encoder", ObservationEncoder)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the observation tokens (B, N, D) of a normalised batch."""
        images = [batch[IMAGE_PREFIX + camera] for camera in self._backbones]
        if self._shared:
            tokens = self._look("backbone", torch.cat(images)).chunk(len(images))
        else:
            names = self._backbones.values()
            tokens = [self._look(name, image) for name, image in zip(names, images, strict=True)]
        keys = [CAMERA_TOKENS_PREFIX + camera for camera in self._backbones]
        return self.encoder(batch | dict(zip(keys, tokens, strict=True)))

    def _look(self, name: str, images_bochw: Tensor) -> Tensor:
        """Return the tokens (B, To, T, D) of the pictures (B, To, C, H, W)."""
        tokens = self.components[name](images_bochw.flatten(0, 1))
        return tokens.unflatten(0, images_bochw.shape[:2])
