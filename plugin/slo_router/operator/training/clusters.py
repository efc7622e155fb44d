"""Categories without labels: clusters of prompts that share words, by k-means over the values of `fitting`.

The nearest mean m of a text x is that with the highest x·m − m²/2: a linear score, so the artefact has the same form.
Clusters are named by their size, the largest first.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from slo_router.contract.settings.tasks.classifier import is_name
from slo_router.errors import SettingsError
from slo_router.operator.training.fitting import Fitted, packed, values_of
from slo_router.operator.training.reading import Prompt

FEWEST_WITH_WORD = 3  # prompts
PROMPTS_EACH = 10  # at least, on average
TOP_WORDS = 8


def cluster(prompts: Sequence[Prompt], count: int, seed: int, prefix: str = "cluster") -> Fitted:
    """`count` clusters of the prompts. Raises SettingsError where there are too few prompts."""
    if len(prompts) < PROMPTS_EACH * count:
        raise SettingsError(
            f"{len(prompts):,} prompts for {count} clusters, expected {PROMPTS_EACH * count:,}, or fewer clusters"
        )
    names = [f"{prefix}-{place:0{len(str(count))}d}" for place in range(1, count + 1)]
    if not is_name(names[0]):
        raise SettingsError(f"--prefix: {prefix!r}, expected a to z, 0 to 9, _ . or -, up to 60")
    values = values_of([one.windows for one in prompts], FEWEST_WITH_WORD)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # if all prompts are alike, `packed` says so
        found = KMeans(count, n_init=1, random_state=seed).fit(values.rows)
    sizes = np.bincount(found.labels_, minlength=count)
    order = np.argsort(-sizes, kind="stable")
    means = found.cluster_centers_[order]
    beside = means - means.mean(axis=0)
    top = {
        name: [values.words[at] for at in np.argsort(-row)[:TOP_WORDS] if row[at] > 0]
        for name, row in zip(names, beside, strict=True)
    }
    made = packed(names, means.T, -0.5 * (means**2).sum(axis=1), values, top_words=top)
    places = np.argsort(order)
    return Fitted(made, [names[place] for place in places[found.labels_]])
