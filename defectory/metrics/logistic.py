"""Logistic regression, fitted by scikit-learn; what comes of it is applied with numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FARTHEST = 60.0
"""Odds beyond which a probability is 0 or 1 to the last digit that matters, and exponentials would overflow."""


def sigmoid(odds: NDArray[Any] | float) -> NDArray[Any]:
    """The probability that goes with logarithmic ``odds``.

    >>> sigmoid(0.0).item()
    0.5
    """
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -_FARTHEST, _FARTHEST))))


def fit_logistic(
    features: NDArray[Any],
    truth: NDArray[Any],
    *,
    strength: float,
    weights: NDArray[np.float64] | None = None,
    iterations: int = 400,
    exact: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[Any]]:
    """Slopes, intercepts and classes of the regression of ``truth`` on ``features``.

    Args:
        features: shape ``(n, d)``.
        truth: the class of each case, shape ``(n,)``.
        strength: the inverse of the penalty on the slopes, scikit-learn's ``C``.
        weights: of the cases; without, all classes weigh the same.
        iterations: steps at most.
        exact: go on until nothing moves any more, which only a few features allow.

    Returns:
        Slopes ``(classes, d)`` and intercepts ``(classes,)``, of the second class alone where there are two.
    """
    # It takes a second to import, and what only applies a regression does not have it.
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=strength,
        class_weight="balanced" if weights is None else None,
        max_iter=iterations,
        solver="newton-cholesky" if exact else "lbfgs",
        tol=1e-10 if exact else 1e-4,
    )
    model.fit(features, truth, sample_weight=weights)
    return model.coef_, model.intercept_, model.classes_
