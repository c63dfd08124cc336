"""How much an episode's actions tell about what was observed: a score for curating data.

Shape legend: B batch, H action-chunk steps, Z latent dimensions, N samples.
"""

from collections.abc import Iterable

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from components.models.contracts import check_fit, component
from components.models.embedding_decoder import EmbeddingDecoder
from components.models.gaussian import Gaussian
from components.models.gaussian_embedder import GaussianEmbedder
from components.models.ksg import local_information
from components.models.observer import Observer
from components.models.picture_decoder import PictureDecoder
from trainer.errors import ConfigError
from trainer.interfaces import (
    ACTION,
    ACTION_IS_PAD,
    EPISODE_INDEX,
    IMAGE_PREFIX,
    STATE,
    Batch,
    Interface,
    Loss,
    LossOutput,
    Progress,
    Scorer,
)
from trainer.ops import masked_mean
from trainer.registry import policies


@policies.register("mutual_information_estimator")
class MutualInformationEstimator(Scorer):
    """Variational autoencoders of observations and of action chunks, and a KSG estimate on both.

    Their pull towards a standard normal gives the embeddings a scale, which nearest neighbours
    depend on, and flattens dimensions that nothing needs. An episode's score is its samples' mean
    contribution to the mutual information: actions that do not follow from what is seen, or
    always are the same, contribute little.
    Source: Hejna et al., Robot Data Curation with Mutual Information Estimators, 2025.

    Args:
        components: ``observation_encoder`` and its cameras' backbones (see ``Observer``),
            ``observation_embedder``, ``state_decoder``, with cameras a ``picture_decoder``,
            ``chunk_embedder`` and ``chunk_decoder``.
        interface: What is observed and done.
        loss: Compares the restored chunk with the recorded one.
        neighbours: k of the KSG estimate.
        divergence_weight: How strong the pull towards a standard normal is: a nat of divergence
            against a unit of mean squared error.
    """

    meaning = (
        "nats which an episode's action chunks share with what it observes: its samples' mean "
        "contribution to a KSG estimate between learnt embeddings. That estimate is too low where "
        "much is shared in many dimensions (0.6 of 2 nats in eight): compare the scores of one "
        "file with each other only"
    )

    def __init__(
        self,
        components: nn.ModuleDict,
        interface: Interface,
        loss: Loss,
        *,
        neighbours: PositiveInt = 5,
        divergence_weight: NonNegativeFloat = 0.01,
    ) -> None:
        super().__init__()
        others = ["observation_embedder", "state_decoder", "chunk_embedder", "chunk_decoder"]
        others += ["picture_decoder"] if interface.cameras else []
        self.observer = Observer(components, interface, others)
        self.needs = self.observer.needs
        self.components = components
        self.loss = loss
        self.neighbours = neighbours
        self.divergence_weight = divergence_weight
        self.cameras = tuple(interface.cameras)
        self._check_sizes(interface)

    def compute_loss(self, batch: Batch, progress: Progress) -> LossOutput:
        """Return what both autoencoders restore wrongly, and their divergences from a normal.

        All terms are means over valid steps: an observation counts for each one of its chunk.
        """
        batch = self.normalizer.normalize(batch)
        valid_bh = ~batch[ACTION_IS_PAD]
        observation, chunk = self._embed_observation(batch), self._embed_chunk(batch)
        action_bha = self._decoder("chunk_decoder")(chunk.sample(progress.generator))
        action = self.loss(action_bha, batch[ACTION], valid_bh)
        errors = self._observation_errors(observation.sample(progress.generator), batch)
        errors["divergence"] = observation.divergence() + chunk.divergence()
        terms = {
            name: masked_mean(error_b[:, None].expand_as(valid_bh), valid_bh)[0]
            for name, error_b in errors.items()
        }
        metrics = {name: term.detach() for name, term in terms.items()}
        terms["divergence"] = self.divergence_weight * terms["divergence"]
        metrics["action"] = action.loss.detach()
        return LossOutput(action.loss + sum(terms.values()), action.weight, metrics)

    def score_episodes(self, batches: Iterable[Batch]) -> dict[int, float]:
        """Return each episode's mean contribution to the mutual information, in nats.

        Raises:
            DataError: There are not more samples than ``neighbours``.
        """
        observations, chunks, episodes = [], [], []
        with torch.inference_mode():
            for batch in batches:
                normalized = self.normalizer.normalize(batch)
                observations.append(self._embed_observation(normalized).mean.double().cpu())
                chunks.append(self._embed_chunk(normalized).mean.double().cpu())
                episodes.append(batch[EPISODE_INDEX].cpu())
        local_n = local_information(
            torch.cat(observations).numpy(), torch.cat(chunks).numpy(), self.neighbours
        )
        names, episode_n = np.unique(torch.cat(episodes).numpy(), return_inverse=True)
        means = np.bincount(episode_n, weights=local_n) / np.bincount(episode_n)
        return dict(zip(names.tolist(), means.tolist(), strict=True))

    def _embed_observation(self, batch: Batch) -> Gaussian:
        return self._embedder("observation_embedder")(self.observer(batch))

    def _embed_chunk(self, batch: Batch) -> Gaussian:
        return self._embedder("chunk_embedder")(batch[ACTION])

    def _observation_errors(self, latent_bz: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared errors (B,) of the restored state and pictures."""
        state = self._decoder("state_decoder")(latent_bz) - batch[STATE]
        errors = {"state": state.square().flatten(1).mean(dim=1)}
        if self.cameras:
            decoder = self._picture_decoder
            newest = [batch[IMAGE_PREFIX + camera][:, -1] for camera in self.cameras]
            target = torch.stack([decoder.target(images) for images in newest], dim=1)
            errors["pictures"] = (decoder(latent_bz) - target).square().flatten(1).mean(dim=1)
        return errors

    def _embedder(self, name: str) -> GaussianEmbedder:
        return component(self.components, name, GaussianEmbedder)

    def _decoder(self, name: str) -> EmbeddingDecoder:
        return component(self.components, name, EmbeddingDecoder)

    @property
    def _picture_decoder(self) -> PictureDecoder:
        return component(self.components, "picture_decoder", PictureDecoder)

    def _check_sizes(self, interface: Interface) -> None:
        """Raise ConfigError when a component does not fit the others or the interface."""
        encoder = self.observer.encoder
        tokens = (encoder.tokens, encoder.token_dim)
        state = (interface.obs_steps, interface.state)
        chunk = (interface.chunk, interface.action)
        for embedder_name, decoder_name, inputs, outputs in (
            ("observation_embedder", "state_decoder", tokens, state),
            ("chunk_embedder", "chunk_decoder", chunk, chunk),
        ):
            embedder, decoder = self._embedder(embedder_name), self._decoder(decoder_name)
            check_fit(f"{embedder_name}.inputs", embedder.inputs, inputs)
            check_fit(f"{decoder_name}.latent", decoder.latent, embedder.latent)
            check_fit(f"{decoder_name}.outputs", decoder.outputs, outputs)
        if self.cameras:
            self._check_pictures(interface)

    def _check_pictures(self, interface: Interface) -> None:
        decoder = self._picture_decoder
        latent = self._embedder("observation_embedder").latent
        check_fit("picture_decoder.latent", decoder.latent, latent)
        check_fit("picture_decoder.cameras", decoder.cameras, len(self.cameras))
        smallest = min(min(shape[1:]) for shape in interface.cameras.values())
        if decoder.size > smallest:
            raise ConfigError(
                f"picture_decoder: it makes pictures of {decoder.size} × {decoder.size} (grid · "
                f"2^layers), but the cameras' smallest side is {smallest}; take a smaller grid or "
                "fewer layers"
            )
