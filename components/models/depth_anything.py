"""Depth Anything V2, frozen, as a visual stream.

Shape legend: n pictures, T tokens, D token width, C channels of the features, P patches.
"""

import importlib
import json
import math
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import torch
from einops import rearrange
from pydantic import JsonValue, PositiveInt
from torch import Tensor, nn

from components.models.depth_stream import DepthStream, DepthView
from components.models.image_input import ImageInput, ImageShape
from trainer.errors import ConfigError
from trainer.interfaces import Pretrained
from trainer.registry import models

if TYPE_CHECKING:
    import transformers


@models.register("depth_anything")
class DepthAnything(DepthStream, Pretrained):
    """The features from which Depth Anything reads relative depth, averaged to few tokens.

    All of it is frozen but a projection to the stream's width. Source: Yang et al., Depth Anything
    V2, 2024; the features are the last ones that its neck fuses, before the depth head.

    Args:
        root: Project root, from where a relative folder starts.
        camera: The camera it looks through.
        image: Shape of that camera's pictures.
        model: Id on the hub, or a local folder.
        size: Pixels along each side of what the model sees; a multiple of its patch size.
        tokens: Tokens of a picture: one that sums it up and a square of positions.
        token_dim: Width of the tokens.
        weights: ``pretrained`` as they were published, or ``random`` for trying things out.
        architecture: The model's own configuration. Checkpoints keep it, so that they act where
            the model cannot be had; without it the model's is read.

    Raises:
        ConfigError: The model cannot be had, or the sizes do not fit it.
    """

    estimates = False

    def __init__(
        self,
        root: Path,
        *,
        camera: str,
        image: ImageShape,
        model: str,
        size: PositiveInt,
        tokens: PositiveInt,
        token_dim: PositiveInt,
        weights: Literal["pretrained", "random"] = "pretrained",
        architecture: dict[str, JsonValue] | None = None,
    ) -> None:
        super().__init__()
        self.side = math.isqrt(tokens - 1)
        if self.side**2 != tokens - 1 or not self.side:
            raise ConfigError(f"tokens: expected one summary and a square, got {tokens}")
        self.camera, self.tokens, self.token_dim = camera, tokens, token_dim
        self._source, self._weights = _local(model, root), weights
        transformers = _transformers()
        if architecture is None:
            config = _config(self._source)
        else:
            config = transformers.DepthAnythingConfig.from_dict(architecture)
        patch = int(config.patch_size)  # type: ignore[arg-type] - its type allows what none has
        if size % patch:
            raise ConfigError(
                f"size: expected a multiple of the patches' {patch} pixels, got {size}"
            )
        self.patches = size // patch
        self.input = ImageInput(image, crop=None, resize=(size, size))
        self.model = transformers.DepthAnythingForDepthEstimation(config).requires_grad_(False)
        self.project = nn.Linear(config.fusion_hidden_size, token_dim)

    def load_pretrained(self) -> None:
        """Take the published weights over; raise ConfigError when they cannot be had."""
        if self._weights == "random":
            return
        try:
            loaded = _transformers().DepthAnythingForDepthEstimation.from_pretrained(self._source)
        except (OSError, ValueError) as error:
            raise ConfigError(_unreachable(self._source, error)) from error
        self.model.load_state_dict(loaded.state_dict())

    def architecture(self) -> dict[str, JsonValue]:
        """Return the model's configuration, from which a checkpoint builds it anew."""
        return {"architecture": json.loads(self.model.config.to_json_string())}

    def forward(self, images_nchw: Tensor, tokens_ntd: Tensor) -> DepthView:
        """Return the tokens (n, T, D) of uint8 pictures; the backbone's are not looked at."""
        self.model.eval()  # it stays as it was published
        with torch.no_grad():
            seen = self.model.backbone(self.input(images_nchw)).feature_maps
            fused_nchw = self.model.neck(list(seen), self.patches, self.patches)[-1]
            squares = nn.functional.adaptive_avg_pool2d(fused_nchw, self.side)
            positions_npc = rearrange(squares, "n c h w -> n (h w) c")
            summary_n1c = positions_npc.mean(dim=1, keepdim=True)
        return DepthView(self.project(torch.cat([summary_n1c, positions_npc], dim=1)))


def _local(model: str, root: Path) -> str:
    """Return the folder that ``model`` names below ``root``, or else the id itself."""
    folder = root / Path(model).expanduser()
    return str(folder) if folder.is_dir() else model


def _config(model: str) -> "transformers.DepthAnythingConfig":
    transformers = _transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ConfigError(_unreachable(model, error)) from error
    if not isinstance(config, transformers.DepthAnythingConfig):
        raise ConfigError(f"model: {model} is a {config.model_type}, not a Depth Anything model")
    return config


def _transformers() -> ModuleType:
    """Return the package, imported only where this component is used."""
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise ConfigError(
            "depth_anything needs the package transformers: install this project's extra depth"
        ) from error


def _unreachable(model: str, error: Exception) -> str:
    reason = str(error).splitlines()[0]
    return (
        f"model: {model} is neither a folder here nor to be had from the hub ({reason}); download "
        "it where there is a network, and give the folder"
    )
