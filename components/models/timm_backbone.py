"""Any image model of timm as a backbone, from random or pretrained weights."""

import copy
import difflib
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal, Protocol, Self, cast

import timm
import torch
from safetensors import SafetensorError
from timm.models import PretrainedCfg, load_state_dict
from torch import Tensor, nn

from components.models.batch_norm import freeze_batch_norm, replace_batch_norm
from components.models.contracts import Backbone
from components.models.image_input import ImageInput, ImageShape, Size
from trainer.errors import ConfigError
from trainer.interfaces import Pretrained
from trainer.registry import models


class _Timm(Protocol):
    """What is used of timm's models, beside their being modules."""

    def forward_features(self, x: Tensor) -> Tensor: ...

    def forward_head(self, x: Tensor, pre_logits: bool) -> Tensor: ...


@models.register("timm_backbone")
class TimmBackbone(Backbone, Pretrained):
    """A convolutional network or vision transformer of timm, without its classifier.

    The tokens of a picture are what the model's own head pools (a class token, an average, …), then
    the last layer's features at each position. Where the head changes the width, an average of the
    positions takes the first place. Weights that no token depends on are frozen.

    Batch normalisation makes a sample's result depend on its batch, on the number of ranks, and on
    statistics that do not belong to averaged weights (EMA, schedule-free), so it is replaced or
    frozen unless ``train`` asks for it. Models without it are not concerned.

    Args:
        root: Project root, from where a relative ``weights`` starts.
        model: timm's name of it, such as ``resnet18`` or ``vit_small_patch16_224.dino``.
        image: Channels, height and width of the recorded pictures.
        pretrained: Start from the weights that timm names, through the Hugging Face hub.
        weights: Start from this file in timm's format: safetensors, or .pt that holds no code.
        batch_norm: ``group`` puts group normalisation in its place (for random weights),
            ``frozen`` keeps the statistics as loaded (for pretrained ones), ``train`` leaves it.
        crop: See ``ImageInput``.
        resize: See ``ImageInput``.

    Raises:
        ConfigError: timm does not know the model, it does not take pictures of this size, or
            pretrained weights meet ``batch_norm: group``.
    """

    def __init__(
        self,
        root: Path,
        *,
        model: str,
        image: ImageShape,
        pretrained: bool = False,
        weights: str | None = None,
        batch_norm: Literal["group", "frozen", "train"] = "group",
        crop: Size | None = None,
        resize: Size | None = None,
    ) -> None:
        super().__init__()
        self._name = model
        self._settings = _settings(model)
        self._pretrained = pretrained
        self._weights = None if weights is None else root / Path(weights).expanduser()
        self._batch_norm_is_frozen = batch_norm == "frozen"
        self.image = image
        self.input = ImageInput(image, crop, resize, self._settings.mean, self._settings.std)
        self.model = self._create()
        replaced = batch_norm == "group" and replace_batch_norm(self.model)
        if replaced and (pretrained or weights):
            raise ConfigError(
                f"batch_norm: pretrained weights of {model} need its batch normalisation; expected "
                "frozen or train, got group"
            )
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.tokens, self.token_dim = self._probe()

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Return the tokens (n, 1 + positions, width) of each picture, the summary first."""
        return _tokens(self.model, self.input(images_nchw))

    def train(self, mode: bool = True) -> Self:
        """Set the mode and return self; frozen batch statistics stay as they are."""
        super().train(mode)
        if self._batch_norm_is_frozen:
            freeze_batch_norm(self.model)
        return self

    def load_pretrained(self) -> None:
        """Take over the pretrained weights that were asked for, if any.

        Raises:
            ConfigError: The hub cannot be reached, or the file does not hold this model's weights.
        """
        if self._weights is not None:
            donor = self._from_file(self._weights)
        elif self._pretrained:
            donor = self._from_hub()
        else:
            return
        self.model.load_state_dict(donor.state_dict())

    def _from_hub(self) -> nn.Module:
        try:
            return self._create(pretrained=True)
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"pretrained: no weights of {self._name} from the hub ({error}); fetch them "
                "elsewhere and name the file (weights: PATH), or set pretrained: false"
            ) from error

    def _from_file(self, path: Path) -> nn.Module:
        if not path.is_file():
            raise ConfigError(f"weights: there is no file {path}")
        try:
            state = load_state_dict(str(path))
            for layer in _names(self._settings.classifier):
                state.pop(f"{layer}.weight", None)
                state.pop(f"{layer}.bias", None)
            # With as many classes as the model has (none), timm wants all else to fit exactly.
            overlay = {"state_dict": state, "num_classes": 0, "label_offset": 0}
            return self._create(pretrained=True, overlay=overlay)
        except (OSError, RuntimeError, ValueError, SafetensorError, UnpicklingError) as error:
            raise ConfigError(
                f"weights: {path} does not hold the weights of {self._name}: {error}"
            ) from error

    def _create(
        self, pretrained: bool = False, overlay: dict[str, object] | None = None
    ) -> nn.Module:
        """Return a new model of timm without a classifier."""
        # Models with position embeddings have to be told the size; others know no such argument.
        size = self.input.size if self._settings.fixed_input_size else None
        return timm.create_model(
            self._name, pretrained, pretrained_cfg_overlay=overlay, num_classes=0, img_size=size
        )

    def _probe(self) -> tuple[int, int]:
        """Return number and width of the tokens, and freeze what no token depends on."""
        twin = copy.deepcopy(self.model).to("meta").eval()  # the graph without the arithmetic
        try:
            tokens = _tokens(twin, torch.zeros(1, 3, *self.input.size, device="meta"))
        except (RuntimeError, AssertionError, ValueError) as error:
            height, width = self.input.size
            raise ConfigError(
                f"model: {self._name} does not take pictures of {height} × {width} ({error}); "
                "choose another model, or resize"
            ) from error
        tokens.sum().backward()
        for own, probed in zip(self.model.parameters(), twin.parameters(), strict=True):
            own.requires_grad_(probed.grad is not None)
        return tokens.shape[1], tokens.shape[2]


def _tokens(model: nn.Module, pixels_nchw: Tensor) -> Tensor:
    """Return the tokens (n, 1 + positions, width) of pictures as ``ImageInput`` gives them."""
    timm_model = cast(_Timm, model)
    features = timm_model.forward_features(pixels_nchw)
    summary_nc = timm_model.forward_head(features, pre_logits=True).flatten(1)
    if features.ndim == 3:  # a class token and the like come before the positions
        positions_npc = features[:, getattr(model, "num_prefix_tokens", 0) :]
    elif getattr(model, "output_fmt", "NCHW") == "NHWC":
        positions_npc = features.flatten(1, 2)
    else:
        positions_npc = features.flatten(2).transpose(1, 2)
    if summary_nc.shape[-1] != positions_npc.shape[-1]:
        summary_nc = positions_npc.mean(dim=1)
    return torch.cat([summary_nc[:, None], positions_npc], dim=1)


def _settings(name: str) -> PretrainedCfg:
    """Return what timm knows about a model; raise ConfigError with the nearest names."""
    architecture, _, tag = name.partition(".")
    known = timm.list_models()
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=3, cutoff=0.5)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise ConfigError(f"model: timm {timm.__version__} has no {name!r}{hint}")
    tags = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tags:
        raise ConfigError(f"model: timm has no {name!r}; with weights there are {', '.join(tags)}")
    return timm.get_pretrained_cfg(name) or PretrainedCfg()


def _names(layers: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (layers,) if isinstance(layers, str) else tuple(layers or ())
