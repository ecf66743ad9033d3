"""Folds keep groups whole and classes even."""

import numpy as np
import pytest

from contract.inputs import Problem
from training.data.examples import Example
from training.errors import BadInput
from training.evaluation.folds import deal_examples, split_folds
from training.recipe.recipe import EvaluationRecipe, TrainRecipe


def _make_examples(texts: list[tuple[str, int]]) -> list[Example]:
    return [
        Example(str(i), "timss", Problem(text=text), label) for i, (text, label) in enumerate(texts)
    ]


def _make_recipe(**evaluation: object) -> TrainRecipe:
    """A recipe of which only the evaluation is read."""
    return TrainRecipe.model_construct(evaluation=EvaluationRecipe(folds=3, **evaluation))  # type: ignore[arg-type]


def test_groups_stay_in_one_fold_and_classes_are_spread() -> None:
    examples = _make_examples([("题", group % 3) for group in range(30) for _ in range(4)])
    groups = np.repeat(np.arange(30), 4)
    folds = split_folds(examples, 5, 0, groups)
    assert all(len(set(folds[groups == group])) == 1 for group in range(30))
    labels = np.array([each.label for each in examples])
    for label in range(3):
        assert np.bincount(folds[labels == label]).tolist() == [8, 8, 8, 8, 8]


def test_a_recipe_groups_unless_it_says_otherwise() -> None:
    words = ["苹果", "铅笔", "足球", "故事书", "练习本", "桃树", "白兔", "汽车", "飞机"]
    texts = [
        (f"{word}店里一共有{number}件{word}，卖掉一半{word}以后还剩多少件{word}？", place % 3)
        for place, word in enumerate(words)
        for number in range(4)
    ]
    examples = _make_examples(texts)
    grouped = deal_examples(_make_recipe(), examples).reshape(-1, 4)
    assert (grouped == grouped[:, :1]).all()
    single = deal_examples(_make_recipe(grouped=False), examples).reshape(-1, 4)
    assert (single != single[:, :1]).any()


def test_a_class_of_one_group_is_refused() -> None:
    texts = [(f"一共有{number}个苹果和梨放在篮子里", 0) for number in range(6)]
    texts += [(text, 1) for text in ("三角形的内角和", "圆的周长公式", "解方程", "一年有几个月")]
    with pytest.raises(BadInput, match=r"class 0 .* one group .* evaluation\.grouped to false"):
        deal_examples(_make_recipe(), _make_examples(texts))


def test_fewer_groups_than_folds_are_refused() -> None:
    texts = [(f"一共有{number}个苹果", number % 2) for number in range(8)]
    with pytest.raises(BadInput, match=r"1 groups that share text, fewer than the 3 folds"):
        deal_examples(_make_recipe(), _make_examples(texts))
