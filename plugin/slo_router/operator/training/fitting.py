"""Fits the classifier, and finds on prompts held out of the fit how far it can be trusted.

    value of a word in a text   its rarity, 1 + ln(prompts ÷ prompts that have it), ÷ √(known words of the text)
    fit                         a linear support vector machine, each category against the rest
    held out                    each prompt is told by a fit that has not seen it: `FOLDS` times a part is left out
    margin                      the least lead of the best category over the second with which the best is right with
                                the probability `sure`. Isotonic regression finds it on the prompts held out. Without
                                a lead the best is right by chance

A word that only one prompt has is left out: it is a name or a number more often than the sign of a task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.svm import LinearSVC

from slo_router.contract.settings.tasks.classifier import FORMAT, MOST, Classifier
from slo_router.contract.settings.tasks.own import UNSURE
from slo_router.errors import SettingsError
from slo_router.operator.training.reading import Prompt
from slo_router.request.categories import Instruction
from slo_router.request.trained import words_of

FOLDS = 5
FEWEST = 5  # prompts of a category: each part has one
MOST_KINDS = 20_000  # different words, the most frequent ones
SLACK = 0.3  # what a prompt on the wrong side costs the fit
Floats = NDArray[np.float64]


class Values(NamedTuple):
    """A row for each text and a column for each word (a sparse matrix), the words, and their rarity."""

    rows: Any
    words: Sequence[str]
    rarity: Floats


class Fitted(NamedTuple):
    """The artefact, and for each prompt what a fit that had not seen it told: a category, or `unsure`.

    Of clusters, `told` has each prompt's own cluster.
    """

    classifier: Classifier
    told: Sequence[str]


def fit(prompts: Sequence[Prompt], sure: float, seed: int) -> Fitted:
    """Fits labelled prompts. Raises SettingsError where a category has too few, or categories can't be told apart."""
    labels = np.array([one.category for one in prompts])
    counts = Counter(labels.tolist())
    few = {name: count for name, count in sorted(counts.items()) if count < FEWEST}
    if few or len(counts) < 2:
        raise SettingsError(f"prompts by category: {few or dict(counts)}, expected two categories, {FEWEST} of each")
    values, names = values_of([one.windows for one in prompts], fewest=2), sorted(counts)
    machine, folds = LinearSVC(C=SLACK, random_state=seed), StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    scores = cross_val_predict(machine, values.rows, labels, cv=folds, method="decision_function")
    best, lead = _leads(_for_each(scores))
    right = np.array(names)[best] == labels
    margin = _least_lead(lead, right, len(names), sure)
    is_sure = lead >= margin
    machine.fit(values.rows, labels)
    held_out = {"prompts": len(labels), "sure": float(is_sure.mean()), "right": float(right[is_sure].mean())}
    weights, bias = _for_each(machine.coef_.T), _for_each(machine.intercept_[None, :])[0]
    made = packed(names, weights, bias, values, margin=margin, held_out=held_out)
    return Fitted(made, [names[at] if told else UNSURE for at, told in zip(best, is_sure, strict=True)])


def values_of(texts: Sequence[Instruction], fewest: int) -> Values:
    """The values of the words that at least `fewest` texts have. Raises SettingsError where there is no such word."""
    counter = CountVectorizer(analyzer=words_of, binary=True, min_df=fewest, max_features=MOST_KINDS, dtype=np.float64)
    try:
        counts = counter.fit_transform(texts)
    except ValueError:
        raise SettingsError(f"{len(texts)} prompts: no word stands in {fewest} of them, expected more") from None
    rarity = 1 + np.log(counts.shape[0] / np.asarray(counts.sum(axis=0)).ravel())
    known = np.maximum(np.asarray(counts.sum(axis=1)), 1)
    return Values(counts.multiply(rarity).multiply(known**-0.5).tocsr(), list(counter.get_feature_names_out()), rarity)


def packed(
    names: Sequence[str],
    weights: Floats,
    bias: Floats,
    values: Values,
    *,
    margin: float = 0.0,
    top_words: Mapping[str, Sequence[str]] = {},
    held_out: Mapping[str, float] = {},
) -> Classifier:
    """The artefact: `weights` has a row for each word and a column for each name, `bias` a number for each name.

    Raises SettingsError where no word has a weight.
    """
    numbers = weights * values.rarity[:, None]
    numbers -= numbers.min(axis=1, keepdims=True)
    step = float(numbers.max()) / MOST
    if not step:
        raise SettingsError("no word tells one prompt from another, expected prompts that differ")
    whole = np.rint(numbers / step).astype(int).tolist()
    words = {word: row for word, row in zip(values.words, whole, strict=True) if any(row)}
    return Classifier(FORMAT, list(names), bias.tolist(), step, margin, words, top_words, held_out)


def _for_each(values: Floats) -> Floats:
    """A column for each category. For two categories the machine gives only one column."""
    single = values.ravel() if values.ndim == 1 or values.shape[1] == 1 else None
    return values if single is None else np.column_stack([-single, single])


def _leads(scores: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Each row's best column, and how far it leads the second."""
    ordered = np.sort(scores, axis=1)
    return np.argmax(scores, axis=1), ordered[:, -1] - ordered[:, -2]


def _least_lead(lead: Floats, right: NDArray[np.bool_], names: int, sure: float) -> float:
    chance = IsotonicRegression(y_min=0.0, y_max=1.0).fit([0.0, *lead], [1 / names, *right.astype(float)])
    leads = np.unique([*lead, *np.linspace(0.0, lead.max(), 1_001)])
    enough = leads[chance.predict(leads) >= sure]
    if not len(enough):
        raise SettingsError(
            f"{right.mean():.0%} of the prompts held out are told right, and none with a probability of {sure:g}: "
            "these categories cannot be told by their words"
        )
    return float(enough[0])
