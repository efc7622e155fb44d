"""`slo-router train`: a classifier of a team's own tasks. Needs scikit-learn: the extra `train`."""
