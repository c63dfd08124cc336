"""What to do about batch normalisation in networks that act on one sample at a time."""

import math

from torch import nn

_GROUPS = 32


def replace_batch_norm(module: nn.Module) -> bool:
    """Return whether group normalisation took the place of any batch normalisation.

    Source: Wu and He, Group Normalization, 2018: 32 groups, fewer where the channels require it.
    An activation that timm's layers have built in is kept.
    """
    replaced = False
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d):
            channels = child.num_features
            norm = nn.GroupNorm(math.gcd(_GROUPS, channels), channels, eps=child.eps)
            setattr(module, name, nn.Sequential(norm, *child.children()))
            replaced = True
        elif replace_batch_norm(child):
            replaced = True
    return replaced


def freeze_batch_norm(module: nn.Module) -> None:
    """Let every batch normalisation use its statistics as they are, and not change them."""
    for child in module.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.eval()
