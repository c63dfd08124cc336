"""Small tensor operations that components share."""

from collections.abc import Sequence

import torch
from torch import Tensor


def masked_mean(values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of ``values`` (B, H, …) where ``valid`` (B, H) holds, and their number.

    The number counts elements, trailing dimensions included. With no valid element the mean is 0.
    """
    mask = valid.reshape(*valid.shape, *([1] * (values.ndim - valid.ndim)))
    weight = mask.sum(dtype=values.dtype) * values.shape[valid.ndim :].numel()
    total = torch.where(mask, values, values.new_zeros(())).sum()
    return total / weight.clamp(min=1), weight


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on a device; the host does not wait for the copy, nor for earlier work.

    A copy from memory that is not pinned may wait for all that the GPU has still to do, once it is
    larger than some 64 kB.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()  # itself where it is pinned; torch keeps the pages for reuse
    return tensor.to(device, non_blocking=True)


def randn_rows(
    shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device
) -> Tensor:
    """Return standard normal noise (len(generators), *shape), row i drawn from generator i.

    Rows are drawn on each generator's own device (the CPU in rollouts), so that an episode's
    noise does not depend on its neighbours or on the device of the policy. Rows that share one
    generator are drawn in one call.
    """
    first = generators[0]
    if all(generator is first for generator in generators):
        shared = torch.randn(len(generators), *shape, generator=first, device=first.device)
        return shared.to(device)
    rows = [torch.randn(*shape, generator=g, device=g.device) for g in generators]
    return torch.stack(rows).to(device)
