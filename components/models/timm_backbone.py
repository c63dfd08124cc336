"""Any image model of timm as a backbone, from random or pretrained weights."""

import copy
import difflib
import math
from pathlib import Path
from typing import Literal

import timm
import torch
from pydantic import PositiveInt
from timm.layers import BatchNormAct2d
from timm.models import load_state_dict
from torch import Tensor, nn

from components.models.contracts import Backbone
from components.models.image_input import ImageInput, ImageShape, Size
from trainer.errors import ConfigError
from trainer.interfaces import Pretrained
from trainer.registry import models

BatchNorm = Literal["group", "frozen", "train"]
_GROUPS = 32


@models.register("timm_backbone")
class TimmBackbone(Backbone, Pretrained):
    """A convolutional network or vision transformer of timm without its classifier.

    The tokens of a picture are timm's pooled features (a class token, an average, …) and the last
    layer's features at each position. Where a model's head changes the width of what it pools, the
    average of the positions takes that place. Weights that no token depends on are frozen.

    Batch normalisation makes a sample's result depend on its batch, on the number of ranks, and on
    statistics that averaged weights (EMA, schedule-free) do not match. So it has to be replaced or
    frozen, unless asked for by ``train``. Models without it are not concerned.

    Args:
        model: timm's name of it, such as ``resnet18`` or ``vit_small_patch16_224.augreg_in21k``.
        image: Channels, height and width of the recorded pictures.
        root: Project root, from where a relative ``weights`` starts.
        pretrained: Start from the weights that timm names, through the Hugging Face hub.
        weights: Start from this file in timm's format (safetensors, or .pt without code).
        batch_norm: ``group`` replaces it by group normalisation (Wu and He, 2018; for random
            weights), ``frozen`` keeps its statistics as loaded (for pretrained weights), ``train``
            leaves it alone.
        crop: See ``ImageInput``.
        resize: See ``ImageInput``.

    Raises:
        ConfigError: timm does not know the model, it does not take pictures of this size, or its
            weights cannot be loaded.
    """

    def __init__(
        self,
        root: Path,
        *,
        model: str,
        image: ImageShape,
        pretrained: bool = False,
        weights: str | None = None,
        batch_norm: BatchNorm = "group",
        crop: Size | None = None,
        resize: Size | None = None,
    ) -> None:
        super().__init__()
        _check_known(model)
        self._name = model
        self._pretrained = pretrained
        self._weights = None if weights is None else root / Path(weights).expanduser()
        self.image = image
        cfg = timm.get_pretrained_cfg(model)
        self.input = ImageInput(image, crop, resize, cfg.mean, cfg.std)
