"""What supervised in-context fine-tuning is compared with, on the same data, schedule and metric.

In-context learning is `minisift.prompt`, plain fine-tuning `minisift.fit(..., shots=0)`.
"""

from minisift.baselines.token_classification import TokenClassifier, fit_token_classifier
from minisift.baselines.unconstrained import Unconstrained

__all__ = ["TokenClassifier", "Unconstrained", "fit_token_classifier"]
