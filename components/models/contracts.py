"""What policies expect of the models which they are composed of.

Shape legend: B batch, To observation steps, N observation tokens, D token width, T tokens of one
picture, F features, H action-chunk steps, A action, E experts.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from trainer.errors import ConfigError, nearest
from trainer.interfaces import Batch, Loss, LossOutput

M = TypeVar("M", bound=nn.Module)
KeysValues = tuple[Tensor, Tensor]
"""Keys and values of one attention layer, each (B, heads, N, D / heads)."""

CAMERA_TOKENS_PREFIX = "camera_tokens."
"""Batch key of what a backbone made of a camera's pictures: (B, To, T, width)."""


class Backbone(nn.Module, ABC):
    """Turns each picture into ``tokens`` tokens: one that sums it up, then those of its patches."""

    image: tuple[int, int, int]
    """Channels, height and width of the pictures."""
    tokens: int
    token_dim: int

    @abstractmethod
    def forward(self, images_nchw: Tensor) -> Tensor:
        """Return the tokens (n, T, width) of n pictures, which are uint8."""


class ObservationEncoder(nn.Module, ABC):
    """Turns a normalised batch into ``tokens`` observation tokens of width ``token_dim``.

    An encoder that looks at cameras finds their tokens under ``camera_tokens.<camera>``.
    """

    tokens: int
    token_dim: int
    cameras: tuple[str, ...] = ()
    """The cameras it looks at, in the interface's order."""
    image_tokens: int = 0
    """How many tokens of each picture it expects."""
    image_token_dim: int = 0
    """How wide they are."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the observation tokens (B, N, D)."""


class VelocityDecoder(nn.Module, ABC):
    """The velocity field of a flow over action chunks, given observation tokens."""

    chunk: int
    action: int
    memory_dim: int

    @abstractmethod
    def remember(self, memory_bnd: Tensor) -> list[KeysValues]:
        """Return what all integration steps share, computed once from the observation tokens."""

    @abstractmethod
    def forward(self, action_bha: Tensor, time_b: Tensor, memory: list[KeysValues]) -> Tensor:
        """Return the velocity (B, H, A) at a noisy chunk and its flow time in [0, 1]."""


class ExpertDecoder(nn.Module, ABC):
    """The velocity fields of several experts, given observation tokens."""

    experts: int
    chunk: int
    action: int
    memory_dim: int

    @abstractmethod
    def remember(self, memory_bnd: Tensor) -> list[KeysValues]:
        """Return what all integration steps share, computed once from the observation tokens."""

    @abstractmethod
    def forward(self, action_bha: Tensor, time_b: Tensor, memory: list[KeysValues]) -> Tensor:
        """Return each expert's velocity (E, B, H, A)."""


class Trunk(nn.Module, ABC):
    """Turns ``inputs`` numbers into ``features`` numbers."""

    inputs: int
    features: int

    @abstractmethod
    def forward(self, x_bi: Tensor) -> Tensor:
        """Return the features (B, F) of the inputs (B, inputs)."""


class ActionHead(nn.Module, ABC):
    """Turns ``features`` numbers into a distribution of (or a point estimate for) the chunk."""

    features: int
    chunk: int
    action: int

    @abstractmethod
    def loss(
        self, features_bf: Tensor, target_bha: Tensor, valid_bh: Tensor, loss: Loss
    ) -> LossOutput:
        """Return the training loss; ``loss`` is the experiment's regression loss."""

    @abstractmethod
    def act(self, features_bf: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Return a chunk (B, H, A) in normalised units; row i draws from generator i alone."""


def check_components(components: nn.ModuleDict, expected: Sequence[str]) -> None:
    """Raise ConfigError unless the model consists of exactly the expected components."""
    missing = [name for name in expected if name not in components]
    surplus = [name for name in components if name not in expected]
    if missing or surplus:
        complaints = [f"{name!r} is missing" for name in missing]
        complaints += [f"{name!r} is not used{nearest(name, missing)}" for name in surplus]
        raise ConfigError(
            f"model.component_config_paths: {'; '.join(complaints)}; the policy consists of "
            f"{', '.join(expected)}"
        )


def component(components: nn.ModuleDict, name: str, kind: type[M]) -> M:
    """Return the component ``name``; raise ConfigError when it is not a ``kind``."""
    module = components[name]
    if not isinstance(module, kind):
        raise ConfigError(
            f"model.component_config_paths.{name}: expected a {kind.__name__}, "
            f"got {type(module).__name__}"
        )
    return module


def check_fit(what: str, got: object, expected: object) -> None:
    """Raise ConfigError when two sizes which must agree do not."""
    if got != expected:
        raise ConfigError(f"{what}: expected {expected}, got {got}")
