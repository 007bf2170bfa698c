"""Bootstrap intervals: numpy's own resampling, and textbook variances, are the judges."""

import numpy as np
import pytest

from partdistillation.evaluation import ImageParts, PredictedPart, TruePart, evaluate
from partdistillation.evaluation.bootstrap import REPLICATES, WEIGHTS, image_weights, interval
from partdistillation.evaluation.counts import ClassCounts, ClassScores
from partdistillation.functional.metrics import apply_mapping, majority_vote, mean_iou


def test_weights_are_poisson_draws_of_the_image_alone() -> None:
    weights = np.stack([image_weights(f"image {number}") for number in range(200)])
    assert (weights[:, 0] == 1).all()
    assert weights[:, 1:].mean() == pytest.approx(1.0, abs=0.01)
    assert weights[:, 1:].var() == pytest.approx(1.0, abs=0.02)
    assert abs(np.corrcoef(weights[0, 1:], weights[1, 1:])[0, 1]) < 0.1
    assert (image_weights("a") == image_weights("a")).all()
    assert (image_weights("a") != image_weights("b")).any()


def test_interval_of_a_mean_is_that_of_the_central_limit() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(400)
    weights = np.stack([image_weights(str(number)) for number in range(400)])
    low, high = interval((values @ weights) / weights.sum(axis=0))
    error = values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


def test_what_was_not_measured_has_no_interval() -> None:
    assert np.isnan(interval(np.full(1 + REPLICATES, np.nan))).all()
    some = np.full(1 + REPLICATES, np.nan)
    some[:3] = 0.5
    assert interval(some) == (0.5, 0.5)


def strip(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((1, 20), dtype=bool)
    mask[0, start:stop] = True
    return mask


def image(number: int, *, shift: int) -> ImageParts:
    truth = [TruePart("car", "body", strip(0, 10)), TruePart("car", "wheel", strip(10, 15))]
    found = [
        PredictedPart("car", strip(shift, 10), 0.9, 0),
        PredictedPart("car", strip(10, 15), 0.8, 1),
    ]
    return ImageParts(truth, found, f"image {number}")


def test_scores_of_replicates_are_those_of_repeated_images() -> None:
    images = [image(number, shift=number % 5) for number in range(6)]
    scores = evaluate(images, protocol="strict")
    weights = np.stack([image_weights(one.image_id) for one in images])
    miou, recall = [], []
    for column in weights.T[1:]:
        drawn = [one for one, count in zip(images, column, strict=True) for _ in range(count)]
        if drawn:
            shifts = [int(one.image_id[-1]) % 5 for one in drawn]
            confusion = np.sum([[[10 - s, 0, 0], [0, 5, 0], [s, 0, 5]] for s in shifts], axis=0)
            miou.append(mean_iou(apply_mapping(confusion, majority_vote(confusion))).mean_iou)
            found = [(np.linspace(0.5, 0.95, 10) <= 1 - s / 10).mean() for s in shifts]
            recall.append((np.mean(found) + 1) / 2)
    assert scores.intervals["c_miou"] == pytest.approx(np.quantile(miou, (0.025, 0.975)))
    assert scores.intervals["AR@10"] == pytest.approx(np.quantile(recall, (0.025, 0.975)))


def drawn_counts(seed: int) -> list[tuple[list[TruePart], list[PredictedPart]]]:
    """Images whose part ids lie anywhere; the third never meets a true part of its own."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(6):
        starts = rng.integers(0, 16, 5)
        truth = [TruePart("car", name, strip(at, at + 4)) for name, at in zip("abc", starts, strict=False)]
        found = [PredictedPart("car", strip(at, at + 5), 0.5, part) for part, at in enumerate(starts[2:])]
        images.append((truth[: rng.integers(0, 4)], found))
    return images


@pytest.mark.parametrize("seed", range(4))
def test_a_replicates_accuracy_and_hungarian_iou_are_those_of_repeated_images(seed: int) -> None:
    images = drawn_counts(seed)
    weights = np.stack([image_weights(f"{seed} {number}") for number in range(len(images))])

    def counted(draws: np.ndarray) -> ClassScores:
        counts = ClassCounts()
        for (truth, found), image_draws in zip(images, draws, strict=True):
            for part in truth:
                counts.add_occurrence(part.name, 0.0)
            counts.add_pixels(truth, found, image_draws)
        return counts.scores("car", measured=True)

    scores = counted(weights)
    for replicate in range(60):
        again = counted(np.repeat(weights[:, replicate, None], WEIGHTS, axis=1))
        for ours, repeated in ((scores.majority, again.majority), (scores.hungarian, again.hungarian)):
            np.testing.assert_array_equal(ours.accuracy[replicate], repeated.accuracy[0])
            np.testing.assert_array_equal(ours.iou[replicate], repeated.iou[0])


def test_every_score_has_an_interval_that_holds_it() -> None:
    images = [image(number, shift=number % 5) for number in range(6)]
    scores = evaluate(images, protocol="strict")
    assert scores.intervals.keys() == scores.values().keys()
    for name, value in scores.values().items():
        low, high = scores.intervals[name]
        assert low <= value <= high, name
    overlaps = np.array([(1 - number % 5 / 10 + 1) / 2 for number in range(6)])
    weights = np.stack([image_weights(one.image_id) for one in images])[:, 1:]
    drawn = weights[:, weights.any(axis=0)]
    expected = np.quantile((overlaps @ drawn) / drawn.sum(axis=0), (0.025, 0.975))
    assert scores.intervals["best_overlap"] == pytest.approx(expected)


def test_one_image_tells_nothing_about_others() -> None:
    assert np.isnan(evaluate([image(0, shift=1)], protocol="strict").intervals["AR@10"]).all()


def test_nmi_and_ari_of_perfect_and_of_merged_parts() -> None:
    perfect = evaluate([image(0, shift=0)], protocol="strict")
    assert (perfect.nmi, perfect.ari, perfect.nmi_foreground, perfect.ari_foreground) == pytest.approx(
        (1,) * 4
    )
    truth = image(0, shift=0).ground_truth
    merged = evaluate(
        [ImageParts(truth, [PredictedPart("car", strip(0, 15), 1.0, 0)], "a")], protocol="strict"
    )
    assert (merged.nmi_foreground, merged.ari_foreground) == (0.0, 0.0)  # one part: chance
    assert 0 < merged.nmi < 1  # object and background are told apart
