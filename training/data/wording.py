"""Other words for the same thing: what a person types where a textbook or a transcript differs.

Textbooks leave gaps ("1千米=____米"), people ask questions ("1千米等于多少米？"); transcripts write
"五分之三", people type "3/5". `reword` changes an input at random so, and its label stays true.
"""

import random
import re
from collections.abc import Callable, Sequence

from contract.inputs import AnyInput, DialogueTurn

_GAP = re.compile(r"_{2,}|[（(][\s　_]*[）)]")
_GAPS = ("____", "__", "______", "（　　）", "( )", "（ ）")
_CHOICES = re.compile(r"[A-D][.．、]|判断")
_END = re.compile(r"[。．.！!？?；;\s]+$")
_ASKED = re.compile(r"(?:等于|是|为|有)?多少(?P<unit>[^，,。．？?\d]{0,4})[？?。]?$")
_SUM = re.compile(
    r"^(?:计算|口算|直接写得数)?[:：．.]?\s*(?P<sum>[\d.+\-×÷*/（）()\s]{3,40}?)\s*[=＝]?\s*$"
)
_SUMS = re.compile(
    r"[\d.+\-×÷*/（）()]*\d[\d.]*[+\-×÷*/][\d.+\-×÷*/（）()]*\d[）)]?(?=\s*[=＝\s]|$)"
)
_SUM_FORMS = (
    "{}=",
    "{}",
    "{}等于多少？",
    "{}等于几？",
    "计算：{}",
    "计算{}",
    "口算：{}=",
    "{}=____",
    "{}=？",
)
_PROBLEM_PREFIXES = ("题目：", "问题：", "例：", "题目:", "1．", "2、", "（3）", "请问，", "老师，")
_NAMES = {
    "teacher": ("老师：", "教师：", "老师:", "T："),
    "student": ("学生：", "生：", "学生:", "S："),
}
_BETWEEN = re.compile(r"(?<=[一-龥])(?=[0-9A-Za-z])|(?<=[0-9A-Za-z])(?=[一-龥])")
_UNITS = (
    # A text keeps its sense when all units of a family in it are exchanged one for one.
    (("千米", "公里", "km"), ("厘米", "公分", "cm"), ("毫米", "mm"), ("分米", "dm")),
    (("千克", "公斤", "kg"),),
    (("毫升", "ml", "mL"),),
)
_DIGITS = {word: str(value) for value, word in enumerate("零一二三四五六七八九十")}
_FRACTION = re.compile(
    r"(?P<low>\d+|[二三四五六七八九十])分之(?P<high>\d+|[一二三四五六七八九十])(?![十百\d])"
)
_SPOKEN = (("加上", "+"), ("减去", "-"), ("乘以", "×"), ("除以", "÷"), ("等于", "="))
_FILLERS = re.compile(
    r"^(?:嗯|呃|啊|哦|那个|就是|然后)+[，,。]?|(?<=[一-龥])[呀啊哦嘛](?=[，。？！]|$)"
)
Change = Callable[[str, random.Random], str]


def reword(item: AnyInput, rng: random.Random) -> AnyInput:
    """The item in other words: each change that fits its text is made by chance."""
    changes = _OF_TURNS if isinstance(item, DialogueTurn) else _OF_PROBLEMS
    text = item.text
    for share, change in changes:
        if rng.random() < share:
            text = change(text, rng)
    if rng.random() < 0.2:
        text = rng.choice(_list_prefixes(item)) + text
    return item.model_copy(update={"text": text}) if text.strip() else item


def ask_for_gap(text: str, rng: random.Random) -> str:
    """`1千米=____米．` → `1千米等于多少米？`; only a statement with one gap and no choices."""
    gaps = list(_GAP.finditer(text))
    if len(gaps) != 1 or _CHOICES.search(text):
        return text
    before, after = text[: gaps[0].start()].rstrip(), _END.sub("", text[gaps[0].end() :])
    # A gap in the middle is not what the sentence asks for; one that has no number near may
    # stand for a word.
    if len(after) > 4 or not re.search(r"\d", before):
        return text
    if before[-1] in "=＝":
        before = before[:-1] + rng.choice(("等于", "是", "=", "合"))
    return f"{before}多少{after}{rng.choice(('？', '？', '?', '', '呢？'))}"


def leave_gap(text: str, rng: random.Random) -> str:
    """`…一共看了多少页？` → `…一共看了____页。`; only a text that ends with its question."""
    if _GAP.search(text) or _CHOICES.search(text):
        return text
    found = _ASKED.search(text)
    if found is None:
        return text
    verb = found[0].split("多少")[0]
    return f"{text[: found.start()]}{verb}{rng.choice(_GAPS)}{found['unit']}{rng.choice('。．')}"


def restyle_gaps(text: str, rng: random.Random) -> str:
    gap = rng.choice(_GAPS)
    return _GAP.sub(gap, text)


def restate_sum(text: str, rng: random.Random) -> str:
    """`36÷4=` → `36÷4等于多少？`, `计算：36÷4` and back."""
    found = _SUM.match(text)
    if found is None or not re.search(r"\d\s*[+\-×÷*/]", found["sum"]):
        return text
    return rng.choice(_SUM_FORMS).format(found["sum"])


def pick_sum(text: str, rng: random.Random) -> str:
    """One of several sums that a sheet sets: `口算．36÷4= 25×4=` → `25×4=`."""
    sums = _SUMS.findall(text)
    rest = re.sub(r"[\s=＝_．。.:：]", "", _SUMS.sub("", text))
    if len(sums) < 2 or not re.fullmatch(r"(?:直接写得数|口算|计算|直接写出得数|算一算)?", rest):
        return text
    return f"{rng.choice(sums)}="


def exchange_units(text: str, rng: random.Random) -> str:
    """Units by another of their names: 千克, 公斤, kg."""
    for family in _UNITS:
        for names in family:
            for name in names:
                pattern = rf"(?<![A-Za-z平方立]){name}(?![A-Za-z²])"
                if re.search(pattern, text):
                    text = re.sub(pattern, rng.choice(names), text)
                    break
    return text


def end_otherwise(text: str, rng: random.Random) -> str:
    """No mark at the end, or another of the same sense."""
    asked = text.rstrip()[-1:] in ("？", "?")
    marks = ("？", "?", "") if asked else ("。", "．", ".", "")
    return _END.sub("", text) + rng.choice(marks)


def space_otherwise(text: str, rng: random.Random) -> str:
    return _BETWEEN.sub(" ", text) if rng.random() < 0.5 else re.sub(r"[ \t　]+", " ", text)


def type_turn(text: str, rng: random.Random) -> str:
    """As a person types what a transcript writes out: `五分之三` → `3/5`, no fillers."""
    text = _FRACTION.sub(_write_fraction, text)
    if rng.random() < 0.5:
        text = _FILLERS.sub("", text)
    if re.search(r"\d", text):
        for words, sign in _SPOKEN:
            text = re.sub(rf"(?<=[\d)）]){words}(?=[\d(（])", sign, text)
    return text


def _write_fraction(found: re.Match[str]) -> str:
    low, high = (_DIGITS.get(word, word) for word in (found["low"], found["high"]))
    return f"{high}/{low}"


def _list_prefixes(item: AnyInput) -> Sequence[str]:
    return _NAMES[item.speaker] if isinstance(item, DialogueTurn) else _PROBLEM_PREFIXES


_OF_PROBLEMS: Sequence[tuple[float, Change]] = (
    (0.5, pick_sum),
    (0.6, restate_sum),
    (0.6, ask_for_gap),
    (0.3, leave_gap),
    (0.3, restyle_gaps),
    (0.3, exchange_units),
    (0.4, end_otherwise),
    (0.4, space_otherwise),
)
_OF_TURNS: Sequence[tuple[float, Change]] = (
    (0.5, type_turn),
    (0.4, end_otherwise),
    (0.3, space_otherwise),
)
