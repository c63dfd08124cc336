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


def row_mean(values_b: Tensor, valid_bh: Tensor) -> Tensor:
    """Return the mean of one value a sample, which counts as often as its chunk has valid steps.

    So do the losses of steps, and the loop weighs ranks and accumulated batches by these: the mean
    over all samples is the same however they are dealt out.
    """
    return masked_mean(values_b[:, None].expand(valid_bh.shape), valid_bh)[0]


def hide_padding(action_bha: Tensor, is_pad_bh: Tensor, generator: torch.Generator) -> Tensor:
    """Return the chunks with fresh noise in padded steps, where the last action is repeated.

    A decoder whose steps look at each other would read the answer there, which it cannot when it
    acts.
    """
    noise = torch.randn(action_bha.shape, generator=generator, device=generator.device)
    return torch.where(is_pad_bh[..., None], noise.to(action_bha), action_bha)


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
