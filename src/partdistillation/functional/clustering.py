"""Stage 4's density estimate: the part features of an object class, clustered into its part classes."""

import numpy as np
from jaxtyping import Float
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from partdistillation.errors import ConfigError, InputError


def cluster_features(
    features: Float[np.ndarray, "n dim"], *, k: int, restarts: int, seed: int
) -> Float[np.ndarray, "clusters dim"]:
    """K-means centroids of the part features of one object class (supplement, section 2, before eq. 4).

    scikit-learn's k-means, in one thread, so that the centroids don't depend on the machine's load. They are
    float32. With at most `k` distinct features these are the centroids, in lexicographic order: a class with
    few parts gets fewer than `k` rows, and it is the caller's to say so.

    Raises:
        InputError: no features, or features that aren't finite.
        ConfigError: `k` or `restarts` below 1.
    """
    if k < 1 or restarts < 1:
        raise ConfigError(f"Clustering needs k >= 1 and restarts >= 1; found k={k}, restarts={restarts}")
    if features.ndim != 2 or len(features) == 0:
        raise InputError(
            f"Expected part features (n, dim) with n >= 1; found the shape {features.shape}: "
            "leave out the object classes that have no proposals"
        )
    features = features.astype(np.float32)
    if not np.isfinite(features).all():
        raise InputError("Expected finite part features; found NaN or infinity: check the proposal model")
    distinct = np.unique(features, axis=0)
    if len(distinct) <= k:
        return distinct
    with threadpool_limits(limits=1):
        clustering = KMeans(k, n_init=restarts, random_state=seed).fit(features)
    return np.asarray(clustering.cluster_centers_)
