"""Chinese word problems of our own, as long as those that pupils are given.

Lengths follow a log-normal law: 50 characters in the mean, 83 at the 90th percentile,
never more than `LONGEST`. No two texts of a series are equal, so no cache can help.
"""

import math
import random

LONGEST = 440
_MEDIAN = 43
_SIGMA = 0.5

_PEOPLE = ("小明", "小红", "李老师", "王叔叔", "小刚", "妈妈", "芳芳", "张阿姨", "同学们", "园丁")
_THINGS = (
    ("苹果", "个"), ("铅笔", "支"), ("图书", "本"), ("桌子", "张"), ("大米", "千克"),
    ("彩带", "米"), ("邮票", "枚"), ("树苗", "棵"), ("牛奶", "盒"), ("零件", "个"),
)  # fmt: skip
_FACTS = (
    "{who}买了{a}{unit}{thing}，",
    "每{unit}{thing}{b}元，",
    "第一天用去{a}{unit}{thing}，",
    "第二天比第一天多{b}{unit}，",
    "{who}把{a}{unit}{thing}平均分成{c}份，",
    "仓库里原来有{d}{unit}{thing}，",
    "{who}每小时能做{b}{unit}，做了{c}小时，",
    "其中{c}分之一是{thing}，",
    "一辆汽车每小时行{a}千米，{c}小时后离终点还有{d}千米，",
    "长方形的长是{a}厘米，宽是{b}厘米，",
)
_QUESTIONS = (
    "一共有多少{unit}{thing}？",
    "还剩多少{unit}？",
    "平均每份是多少{unit}？",
    "{who}一共要付多少元？",
    "照这样计算，{d}{unit}{thing}要用几天？",
    "它的面积是多少平方厘米？",
    "列方程解答，设{thing}有x{unit}。",
    "请说明你的理由。",
    "直接写出得数：{a}×{c}+{b}=",
    "比较大小：{a}/{d}和{b}/{d}，哪一个大？",
)


def make_problems(count: int, *, seed: int) -> list[str]:
    """Return so many different problems; the same for the same seed."""
    draw = random.Random(seed)
    return [_make_problem(draw, number) for number in range(count)]


def _make_problem(draw: random.Random, number: int) -> str:
    wanted = min(LONGEST, _MEDIAN * math.exp(draw.gauss(0.0, _SIGMA)))
    question = _fill(draw, draw.choice(_QUESTIONS))
    parts = [f"（{number + 1}）"]
    length = len(parts[0]) + len(question)
    while length < wanted:
        fact = _fill(draw, draw.choice(_FACTS))
        if length + len(fact) / 2 > wanted:  # as often too short as too long
            break
        parts.append(fact)
        length += len(fact)
    return "".join(parts) + question


def _fill(draw: random.Random, template: str) -> str:
    thing, unit = draw.choice(_THINGS)
    return template.format(
        who=draw.choice(_PEOPLE), thing=thing, unit=unit,
        a=draw.randint(12, 999), b=draw.randint(2, 60), c=draw.randint(2, 12),
        d=draw.randint(100, 5000),
    )  # fmt: skip
