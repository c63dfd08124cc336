"""Pictures a second of the generator ``controlnet`` at the size of Stable Diffusion 1.5.

python benchmarks/controlnet_speed.py [--json FILE] [--size 512]

The weights are random: speed does not depend on them, and nothing is downloaded. Four callers ask
for one picture at a time, as teacher nodes do; a render node draws what has come together. Needs
the extra ``diffusion``, and a GPU to say anything.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from common import Row, median, parser, report, versions

from data_collection.cluster.micro_batches import MicroBatches
from data_collection.rendering.generators import Generator, Prompt, Scene
from data_collection.rendering.generators.controlnet import ControlNet

CALLERS = 4
BATCHES = (1, 2, 4, 8)
SCENE = (180, 320)
"""Height and width of a camera's picture."""
_LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]


@dataclass(frozen=True)
class Size:
    """How large the networks are: by default as in Stable Diffusion 1.5."""

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    vae_channels: tuple[int, ...] = (128, 256, 512, 512)
    conditioning_channels: tuple[int, ...] = (16, 32, 96, 256)
    text_width: int = 768
    text_layers: int = 12
    layers_per_block: int = 2
    groups: int = 32


TINY = Size((8, 8, 8, 8), (8, 8, 8, 8), (4, 4, 4, 4), 16, 1, 1, 4)


def write_models(folder: Path, size: Size, device: torch.device) -> None:
    """Write the pipeline to ``folder/base`` and its ControlNet to ``folder/depth``."""
    diffusers = importlib.import_module("diffusers")  # not at the top: its types are narrower
    torch.manual_seed(0)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    with torch.device(device):
        unet = diffusers.UNet2DConditionModel(
            sample_size=64,
            block_out_channels=size.channels,
            cross_attention_dim=size.text_width,
            layers_per_block=size.layers_per_block,
            norm_num_groups=size.groups,
        )
        control = diffusers.ControlNetModel.from_unet(
            unet, conditioning_embedding_out_channels=size.conditioning_channels
        )
        vae = diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=size.vae_channels,
            layers_per_block=size.layers_per_block,
            latent_channels=4,
            norm_num_groups=size.groups,
        )
    pipeline = diffusers.StableDiffusionControlNetPipeline(
        vae=vae,
        text_encoder=_text_encoder(size),
        tokenizer=_tokenizer(),
        unet=unet,
        controlnet=control,
        scheduler=diffusers.DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype)
    pipeline.save_pretrained(folder / "base")
    control.save_pretrained(folder / "depth")


def _tokenizer() -> transformers.CLIPTokenizer:
    """Return one that spells: its vocabulary decides nothing about speed."""
    words = ["<|startoftext|>", "<|endoftext|>", *_LETTERS, *(f"{c}</w>" for c in _LETTERS)]
    vocabulary = {word: i for i, word in enumerate(words)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _text_encoder(size: Size) -> transformers.CLIPTextModel:
    return transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            hidden_size=size.text_width,
            intermediate_size=4 * size.text_width,
            num_hidden_layers=size.text_layers,
            num_attention_heads=size.text_width // 8 if size.text_width < 64 else 12,
            bos_token_id=0,
            eos_token_id=1,
        )
    )


def scene(seed: int) -> Scene:
    """Return a scene with one object."""
    depth = np.random.default_rng(seed).uniform(1, 3, SCENE).astype(np.float32)
    mask = np.zeros(SCENE, np.int64)
    mask[40:120, 60:160] = 1
    return Scene(depth_hw=depth, mask_hw=mask, prompt=Prompt("a block", "a table"), seed=seed)


def rate(generator: Generator, most: int, pictures: int) -> float:
    """Return pictures a second of all callers, up to ``most`` in one evaluation."""
    batches: MicroBatches[Scene, np.ndarray] = MicroBatches(
        generator.generate, max_batch=most, max_wait_s=0.005
    )

    async def caller(number: int) -> None:
        for i in range(pictures // CALLERS):
            await batches.submit([scene(1000 * number + i)])

    async def all_callers() -> None:
        await asyncio.gather(*(caller(number) for number in range(CALLERS)))

    begin = time.perf_counter()
    asyncio.run(all_callers())
    return pictures / (time.perf_counter() - begin)


def rows(models: Path, size: int, *, quick: bool, only: str) -> list[Row]:
    """Return a row for each number of scenes in one evaluation."""
    found: list[Row] = []
    for batch in BATCHES[:2] if quick else BATCHES:
        name = f"controlnet, {batch} in an evaluation, {CALLERS} callers"
        if only not in name:
            continue
        generator = ControlNet(
            base="base", controlnet="depth", size=size, batch_size=batch, root=models
        )
        alone = generator.generate
        alone([scene(0)])  # warm up
        runs = [rate(generator, batch, 4 if quick else 16) for _ in range(1 if quick else 3)]
        begin = time.perf_counter()
        alone([scene(i) for i in range(batch)])
        row: Row = {"name": name, "pictures/s": round(median(runs), 2)}
        row["ms an evaluation"] = round(1e3 * (time.perf_counter() - begin), 1)
        found.append(row)
    for row in found:
        row["gain"] = round(float(row["pictures/s"] or 0) / float(found[0]["pictures/s"] or 1), 2)
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure and report."""
    options = parser("Pictures a second of a ControlNet at full size, one by one and in batches.")
    options.add_argument("--size", type=int, default=512, help="pixels of the shorter side")
    args = options.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        sys.stderr.write("no GPU here: these figures say nothing about one\n")
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder), TINY if args.quick else Size(), device)
        found = rows(
            Path(folder), 64 if args.quick else args.size, quick=args.quick, only=args.only
        )
    gpu = {"gpu": torch.cuda.get_device_name()} if device.type == "cuda" else {}
    report(found, versions("torch", "diffusers", "transformers") | gpu, args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
