"""What an epoch draws: today's order under `instance`, the class shares under the others."""

from collections import Counter

import pytest
import torch
from transformers.trainer_pt_utils import LengthGroupedSampler

from tests.training.data.test_sampling import make_examples
from training.data.examples import Example
from training.data.sampling import draw_counts, split_validation
from training.fitting.epoch_sampler import EpochSampler

EXAMPLES = make_examples([60, 24, 5, 1]) + make_examples([20, 4], "irf")
LENGTHS = [10 + (7 * place) % 31 for place in range(len(EXAMPLES))]


def draw(sampling: str, epoch: int, seed: int = 3) -> list[int]:
    sampler = EpochSampler(EXAMPLES, LENGTHS, sampling, batch_size=8, seed=seed)
    sampler.epoch = epoch
    return list(sampler)


def test_instance_sampling_is_the_length_grouped_sampler() -> None:
    generator = torch.Generator().manual_seed(3)
    reference = LengthGroupedSampler(8, lengths=LENGTHS, generator=generator)
    for epoch in range(3):
        assert draw("instance", epoch) == list(reference)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ("square-root", [44, 28, 13, 5, 17, 7]),
        ("class-balanced", [23, 23, 22, 22, 12, 12]),
    ],
)
def test_classes_get_their_shares_of_their_task(sampling: str, expected: list[int]) -> None:
    for epoch in range(2):
        counts = Counter(
            (EXAMPLES[place % len(EXAMPLES)].task, EXAMPLES[place % len(EXAMPLES)].label)
            for place in draw(sampling, epoch)
        )
        strata = [("timss", label) for label in range(4)] + [("irf", 0), ("irf", 1)]
        got = [counts[stratum] for stratum in strata]
        assert sum(got) == len(EXAMPLES)
        assert all(abs(a - b) <= 1 for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("sampling", ["square-root", "class-balanced"])
def test_every_example_comes_before_any_comes_again(sampling: str) -> None:
    """Over epochs, within each class, no example is more than one round ahead of another."""
    seen: Counter[int] = Counter({place: 0 for place in range(len(EXAMPLES))})
    for epoch in range(5):
        drawn = draw(sampling, epoch)
        assert len(set(drawn)) == len(drawn)  # a repetition has a number of its own
        seen.update(place % len(EXAMPLES) for place in drawn)
        rounds: dict[tuple[str, int], list[int]] = {}
        for place, example in enumerate(EXAMPLES):
            rounds.setdefault((example.task, example.label), []).append(seen[place])
        assert all(max(each) - min(each) <= 1 for each in rounds.values())


@pytest.mark.parametrize("sampling", ["instance", "square-root", "class-balanced"])
def test_an_epoch_depends_on_seed_and_number_alone(sampling: str) -> None:
    assert draw(sampling, 2) == draw(sampling, 2)
    assert len({tuple(draw(sampling, epoch)) for epoch in range(3)}) == 3
    assert draw(sampling, 2) != draw(sampling, 2, seed=4)


def test_batches_hold_similar_lengths() -> None:
    drawn = draw("class-balanced", 0)
    lengths = [LENGTHS[place % len(LENGTHS)] for place in drawn]
    spread = [max(lengths[i : i + 8]) - min(lengths[i : i + 8]) for i in range(8, 96, 8)]
    assert sum(spread) / len(spread) < 12  # of 30


def test_counts_add_up() -> None:
    sizes = {("a", 0): 7, ("a", 1): 3, ("a", 2): 1, ("b", 0): 5}
    for sampling in ("instance", "square-root", "class-balanced"):
        counts = draw_counts(sizes, sampling)
        assert sum(counts.values()) == 16 and counts["b", 0] == 5
    assert draw_counts(sizes, "instance") == sizes


def test_validation_takes_its_share_of_every_class() -> None:
    training, held_back = split_validation(EXAMPLES, 0.2, seed=0)
    assert sorted(e.id + e.task for e in training + held_back) == sorted(
        e.id + e.task for e in EXAMPLES
    )

    def sizes(examples: list[Example]) -> list[int]:
        counts = Counter((example.task, example.label) for example in examples)
        return [
            counts[task, label] for task, label in sorted({(e.task, e.label) for e in EXAMPLES})
        ]

    assert sizes(held_back) == [4, 1, 12, 5, 1, 0]
    assert sizes(training) == [16, 3, 48, 19, 4, 1]
    assert split_validation(EXAMPLES, 0.2, seed=0)[1] == held_back
    assert split_validation(EXAMPLES, 0.2, seed=1)[1] != held_back
    assert split_validation(EXAMPLES, 0.0, seed=0) == (EXAMPLES, [])
