import numpy as np
import pytest
import torch

from data_collection.rendering.generators import Prompt, Scene, generators
from data_collection.rendering.generators.controlnet import (
    ControlNet,
    _joining,
    _nearness,
    _network_sides,
)
from trainer.errors import ConfigError
from trainer.schema import ComponentSpec
from trainer.signature import build

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

BLOCKS = {"block_out_channels": (4, 8), "layers_per_block": 1, "norm_num_groups": 1}
DOWN = {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "cross_attention_dim": 16}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A Stable Diffusion model and a ControlNet of some thousand random weights, in folders."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **BLOCKS, **DOWN
    )
    control = diffusers.ControlNetModel(
        conditioning_embedding_out_channels=(4, 8), **BLOCKS, **DOWN
    )
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        **BLOCKS,
    )
    letters = [chr(c) for c in range(97, 123)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    tokenizer = transformers.CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=16
    )
    text_encoder = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    with torch.no_grad():
        for parameter in control.parameters():  # its last layers begin as zeros
            parameter.normal_(std=0.3)
    pipeline = diffusers.StableDiffusionControlNetPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        controlnet=control,
        scheduler=diffusers.DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(root / "base")
    control.save_pretrained(root / "depth")
    return root


@pytest.fixture
def make(models):
    def build_one(**params):
        params = {"base": "base", "controlnet": "depth", "size": 64, "steps": 2, **params}
        params = {"device": "cpu", **params}
        spec = ComponentSpec(type="controlnet", params=params)
        return build(generators, spec, "generator", {"root": models})

    return build_one


def scene(prompt=("red steel", "a forge"), seed=1, height=16, width=24, near=1.0):
    depth = np.linspace(3, 5, height * width, dtype=np.float32).reshape(height, width)
    mask = np.zeros((height, width), int)
    depth[4:12, 4:12], mask[4:12, 4:12] = near, 9
    return Scene(depth, mask, Prompt(*prompt), seed)


def test_it_gives_pictures_of_the_scenes_sizes_in_their_order(make):
    scenes = [scene(), scene(height=24), scene(seed=2)]
    pictures = make(batch_size=2).generate(scenes)
    assert [p.shape for p in pictures] == [(16, 24, 3), (24, 24, 3), (16, 24, 3)]
    assert all(p.dtype == np.uint8 and p.std() > 0 for p in pictures)
    assert not np.array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize("scheduler", ["lcm", "unipc"])
def test_a_picture_does_not_depend_on_the_others_it_comes_with(make, scheduler):
    generator = make(batch_size=2, scheduler=scheduler, guidance_scale=2.0)
    scenes = [scene(seed=seed) for seed in (5, 6, 7)]
    together = generator.generate(scenes)
    for one, alone in zip(together, scenes, strict=True):
        np.testing.assert_array_equal(generator.generate([alone])[0], one)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"near": 2.5},
        {"prompt": ("blue ice", "a forge")},
        {"prompt": ("red steel", "the sea")},
    ],
)
def test_seed_depth_and_both_prompts_count(make, other):
    generator = make()
    (one,), (two,) = (generator.generate([s]) for s in (scene(), scene(**other)))
    assert np.abs(one.astype(int) - two).max() > 0


def test_latents_are_joined_by_the_mask_after_each_step():
    mask = torch.tensor([[[[1.0, 0.0, 0.25]]], [[[0.0, 0.0, 1.0]]]])
    latents = torch.tensor([8.0, 4.0, 6.0, 2.0])[:, None, None, None].expand(-1, 1, 1, 3)
    joined = _joining(mask)(None, 0, 0, {"latents": latents})["latents"][:, 0, 0]
    first, second = [8.0, 4.0, 5.0], [2.0, 2.0, 6.0]
    assert joined.tolist() == [first, first, second, second]


def test_one_prompt_for_all_is_what_the_pipeline_itself_gives(make):
    generator = make(scheduler="euler")
    prompt = ("a red forge", "a red forge")
    given = scene(prompt, seed=3, height=64, width=64)
    control = _nearness(given.depth_hw)[None].expand(-1, 3, -1, -1)
    image = generator._pipeline(
        prompt=prompt[0],
        image=control,
        height=64,
        width=64,
        num_inference_steps=2,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    ).images[0]
    (ours,) = generator.generate([given])
    np.testing.assert_allclose(ours, 255 * image, atol=1)


def test_near_is_one_and_far_is_zero():
    depth = np.array([[1, 2], [4, 1]], np.float32)  # inverse: 1, 1/2, 1/4
    expected = torch.tensor([[[1, 1 / 3], [0, 1]]])
    torch.testing.assert_close(_nearness(depth), expected)
    assert _nearness(np.full((2, 2), 3, np.float32)).tolist() == [[[0, 0], [0, 0]]]


@pytest.mark.parametrize(
    ("height", "width", "sides"), [(64, 64, (512, 512)), (180, 320, (512, 896))]
)
def test_the_network_sees_whole_blocks(height, width, sides):
    assert _network_sides(height, width, 512) == sides


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 100}, "size: expected a multiple of 64 pixels, got 100"),
        ({"base": "./nowhere"}, "base: './nowhere' is neither a local folder nor a model"),
        ({"controlnet": "./nowhere"}, "controlnet: './nowhere' is neither a local folder"),
        ({"scheduler": "ddpm"}, "scheduler: expected 'lcm', 'unipc', 'dpm' or 'euler'"),
        ({"steps": 0}, "steps: expected a value greater than 0"),
        ({"batch": 2}, r"unknown parameter of controlnet \(did you mean 'batch_size'\?\)"),
    ],
)
def test_what_is_wrong_is_named(make, wrong, message):
    with pytest.raises(ConfigError, match=message):
        make(**wrong)


def test_other_files_than_safetensors_are_refused(make, models, tmp_path):
    pickled = tmp_path / "pickled"
    control = diffusers.ControlNetModel.from_pretrained(models / "depth")
    control.save_pretrained(pickled, safe_serialization=False)
    with pytest.raises(ConfigError, match="controlnet: "):
        make(controlnet=str(pickled))


def test_a_gpu_that_is_not_there_is_missed(make, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="there is no GPU here"):
        make(device="cuda")


def test_it_is_registered_under_its_name():
    assert generators.get("controlnet") is ControlNet
