"""Logistic regression: odds that can be counted, and scikit-learn as it is called by hand."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from defectory.metrics.logistic import fit_logistic, sigmoid

# Of 10 cases of class 0 one has the feature, of 5 of class 1 four have it.
FEATURES = np.array([0.0] * 9 + [1.0] + [0.0] + [1.0] * 4)[:, None]
TRUTH = np.repeat([0, 1], [10, 5])


@pytest.mark.parametrize(
    ("weights", "constant"),
    [
        # Both classes weigh the same: odds of (1/5) / (9/10) without the feature.
        (None, np.log(2 / 9)),
        # All cases weigh the same: odds of 1 to 9.
        (np.ones(15), np.log(1 / 9)),
    ],
)
def test_odds_are_those_counted(weights, constant):
    # With the feature the odds are 36 times as high: (4/1) / (1/9).
    slopes, intercepts, classes = fit_logistic(FEATURES, TRUTH, strength=1e6, weights=weights, exact=True)

    assert slopes == pytest.approx(np.array([[np.log(36)]]), rel=1e-3)
    assert intercepts == pytest.approx(np.array([constant]), rel=1e-3)
    assert classes.tolist() == [0, 1]


@pytest.mark.parametrize("exact", [False, True])
def test_the_penalty_is_scikit_learns(exact):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 3))
    truth = (features @ [1.0, -2.0, 0.5] + rng.normal(size=60) > 0).astype(int)
    peer = LogisticRegression(C=0.05, class_weight="balanced", tol=1e-8, max_iter=1000).fit(features, truth)

    slopes, intercepts, _ = fit_logistic(features, truth, strength=0.05, exact=exact)

    assert slopes == pytest.approx(peer.coef_, abs=1e-3)
    assert intercepts == pytest.approx(peer.intercept_, abs=1e-3)


@pytest.mark.parametrize(
    ("odds", "probability"),
    [(0.0, 0.5), (np.log(3), 0.75), (-np.log(3), 0.25), (1000.0, 1.0), (-1000.0, 8.7565e-27)],
)
def test_probabilities_of_odds(odds, probability):
    # Beyond 60, e**-60 = 8.7565e-27 is as good as 0.
    assert sigmoid(odds).item() == pytest.approx(probability, rel=1e-4, abs=0)
