"""Exports a checkpoint's policy as TorchScript or ONNX, with the normaliser inside.

    python trainer/export.py --checkpoint runs/point_ctrl/exp2 --output student.onnx

The exported function takes the observations (1, To, S) in real units and, for a policy with a
memory, its memory; it returns the action chunk (1, H, A) in real units and the new memory. It is
compared with the policy before it is left on the disk.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.acting import SavedPolicy, load_policy
from trainer.checkpoint import resolve_checkpoint
from trainer.cli import run_command
from trainer.errors import ConfigError, UserError
from trainer.files import writing
from trainer.interfaces import STATE, TASK, Policy
from trainer.normalization import AffineNormalizer

TOLERANCE = 1e-5
"""Largest difference between the exported function and the policy."""
_CHECKS = 8
"""Random observations, one after the other, that both are asked about."""

Function = Callable[..., list[Tensor]]


class Decision(nn.Module):
    """One decision of a policy as a function of tensors alone.

    Args:
        policy: Decides; nothing about it may be random.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy
        self.memory = list(policy.initial_state(1))
        """Names of the parts of its memory, in the order in which they are passed."""

    def forward(self, state: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """Return the chunk (1, H, A) and the new memory, for the state (1, To, S)."""
        given = dict(zip(self.memory, memory, strict=True))
        action, after = self.policy.predict_action({STATE: state}, given, [])
        return (action, *(after[name] for name in self.memory))


def export(saved: SavedPolicy, output: Path) -> float:
    """Write the policy to a ``.pt`` (TorchScript) or ``.onnx`` file; return the largest difference.

    Raises:
        ConfigError: Another kind of file is asked for, or the policy sees cameras, is told its
            task, or draws noise.
        UserError: The exported function does not do what the policy does; no file is left.
    """
    if output.suffix not in _EXPORTERS:
        raise ConfigError(f"{output}: expected a file name that ends in .pt or .onnx")
    if saved.config.interface.cameras:
        raise ConfigError(f"{saved.checkpoint}: policies that see cameras cannot be exported yet")
    if TASK in saved.policy.needs:
        raise ConfigError(
            f"{saved.checkpoint}: policies that are told their task cannot be exported yet"
        )
    decision = Decision(saved.policy)
    example = _example(saved, decision, 0)
    if _draws_noise(saved.policy, example[0]):
        raise ConfigError(
            f"{saved.checkpoint}: {saved.config.policy.type} draws noise for every decision, which "
            "an exported function cannot; only deterministic policies can be exported"
        )
    temporary = output.with_name(f".{output.name}.tmp")
    try:
        with writing(output):
            output.parent.mkdir(parents=True, exist_ok=True)
            function = _EXPORTERS[output.suffix](decision, example, temporary)
        difference = compare(decision, function, saved)
        if not difference <= TOLERANCE:
            raise UserError(
                f"the exported function differs from {saved.checkpoint} by {difference:g}, more "
                f"than {TOLERANCE:g}; nothing was written"
            )
        with writing(output):
            temporary.rename(output)
    finally:
        temporary.unlink(missing_ok=True)
    return difference


def _draws_noise(policy: Policy, state: Tensor) -> bool:
    """Return whether a decision makes use of the generator that is offered to it."""
    generator = torch.Generator()
    before = generator.get_state()
    with torch.no_grad():
        policy.predict_action({STATE: state}, policy.initial_state(1), [generator])
    return not torch.equal(generator.get_state(), before)


def compare(decision: Decision, function: Function, saved: SavedPolicy) -> float:
    """Return the largest difference of the two over a few steps, each with its own memory."""
    ours = theirs = _example(saved, decision, 0)[1:]
    differences = []
    for seed in range(_CHECKS):
        state = _example(saved, decision, seed)[0]
        with torch.no_grad():
            expected, *ours = decision(state, *ours)
        got, *theirs = function(state, *theirs)
        differences.append((expected - got).abs().max())
    return float(torch.stack(differences).max())  # unlike Python's max, nan if one is


def _example(saved: SavedPolicy, decision: Decision, seed: int) -> tuple[Tensor, ...]:
    """Return random observations in the range of the data, and a fresh memory."""
    sizes = saved.config.interface
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn(1, sizes.obs_steps, sizes.state, generator=generator)
    if isinstance(saved.policy.normalizer, AffineNormalizer):
        seen = saved.policy.normalizer.statistics[STATE]
        state = torch.from_numpy(seen.mean).float() + torch.from_numpy(seen.std).float() * state
    fresh = saved.policy.initial_state(1)
    return (state, *(fresh[name] for name in decision.memory))


def _to_torchscript(decision: Decision, example: tuple[Tensor, ...], file: Path) -> Function:
    with torch.no_grad(), warnings.catch_warnings():
        # Deprecated in torch, but what C++ programs on robots load.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(decision, example, check_trace=False)
        torch.jit.save(traced, str(file))
        loaded = torch.jit.load(str(file))
    return lambda *inputs: list(loaded(*inputs))


def _to_onnx(decision: Decision, example: tuple[Tensor, ...], file: Path) -> Function:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ModuleNotFoundError as error:
        raise ConfigError("ONNX needs further packages; install offline-trainer[onnx]") from error
    for library in ("onnxscript", "onnx_ir", "torch.onnx"):
        logging.getLogger(library).setLevel(logging.WARNING)  # they tell of each optimisation
    names = ["state", *decision.memory]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about how torch keeps a GRU's weights
        torch.onnx.export(
            decision,
            example,
            str(file),
            input_names=names,
            output_names=["action", *(f"{name}_after" for name in decision.memory)],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> list[Tensor]:
        given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return [torch.from_numpy(value) for value in session.run(None, given)]

    return run


_EXPORTERS: dict[str, Callable[[Decision, tuple[Tensor, ...], Path], Function]] = {
    ".pt": _to_torchscript,
    ".onnx": _to_onnx,
}


def main(arguments: Sequence[str]) -> int:
    """Export from the command line and return the exit code."""
    parser = argparse.ArgumentParser(description="Export a checkpoint's policy.")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        help="a checkpoint, a run (its newest one), or RUN/best",
    )
    parser.add_argument("--output", type=Path, required=True, help="FILE.onnx or FILE.pt")
    args = parser.parse_args(arguments)
    saved = load_policy(resolve_checkpoint(args.checkpoint), torch.device("cpu"))
    difference = export(saved, args.output)
    sys.stdout.write(f"{args.output}: differs from the checkpoint by at most {difference:.1e}\n")
    return 0


if __name__ == "__main__":
    run_command(main)
