"""Mutual information from samples, by distances to nearest neighbours.

Shape legend: N samples, X and Y their coordinates.
"""

import numpy as np
from scipy.spatial import KDTree
from scipy.special import digamma

from trainer.errors import DataError


def local_information(x_nx: np.ndarray, y_ny: np.ndarray, neighbours: int) -> np.ndarray:
    """Return (N,) what each sample contributes; their mean is the mutual information in nats.

    Exact up to noise for independent x and y; too low where they depend much on each other in many
    dimensions: of 2 nats between Gaussians of eight dimensions each, 10,000 samples show about 0.6.

    Args:
        x_nx: Samples of the one variable.
        y_ny: Samples of the other, row for row.
        neighbours: k, the neighbours that a sample's distance scale comes from. More: less noise,
            more bias.

    Raises:
        DataError: There are not more samples than neighbours.

    Source: Kraskov, Stögbauer and Grassberger, Estimating Mutual Information, 2004, eq. 8
    (estimator 1), with the maximum norm throughout.
    """
    samples = len(x_nx)
    if neighbours >= samples:
        raise DataError(
            f"neighbours is {neighbours}, but there are {samples} samples; the estimate needs more "
            "samples than neighbours: lower it, or add data"
        )
    both = np.concatenate([x_nx, y_ny], axis=1)
    # A sample is its own nearest neighbour.
    distances, _ = KDTree(both).query(both, k=neighbours + 1, p=np.inf)
    nearer_n = np.nextafter(distances[:, -1], 0.0)
    near_x_n, near_y_n = (_count_within(values, nearer_n) for values in (x_nx, y_ny))
    return digamma(neighbours) + digamma(samples) - digamma(near_x_n) - digamma(near_y_n)


def _count_within(values_nd: np.ndarray, radius_n: np.ndarray) -> np.ndarray:
    """Return (N,) how many samples lie within each one's radius, itself included."""
    tree = KDTree(values_nd)
    return tree.query_ball_point(values_nd, radius_n, p=np.inf, return_length=True)
