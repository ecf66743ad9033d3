"""Who is the teacher and who a student, from the names that transcripts give them."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

Speaker = Literal["teacher", "student"]

SPEAKERS: Mapping[str, Speaker] = MappingProxyType({
    **dict.fromkeys(
        ("teacher", "tutor", "t", "instructor", "teachers", "老师", "教师", "师"), "teacher"
    ),
    **dict.fromkeys(
        (
            "student", "pupil", "s", "ss", "students", "multiple students", "child", "class",
            "学生", "同学", "生", "全班", "众生", "生齐",
        ),
        "student",
    ),
})  # fmt: skip
"""How transcripts name the two; case does not matter."""
_TEACHER = re.compile(r"(?:mr|mrs|ms|miss)\b\.?.*|(?:t|teacher|tutor)[ _-]?\d+|.+(?:老师|教师)")
_STUDENT = re.compile(
    r"(?:s|ss|student|pupil)[ _-]?\d+|.+同学"
    r"|(?:学生|同学|生)[ _-]?[\d一二三四五六七八九十A-Za-z甲乙丙丁]+"
)


def assign_speakers(
    names: Iterable[str], known: Mapping[str, Speaker] = SPEAKERS
) -> dict[str, Speaker]:
    """Say of each name who it is; names that cannot be told are left out.

    As soon as one of them is known as the teacher, every other name is a pupil's. `known` maps
    names in lower case.
    """
    listed = [name for name in dict.fromkeys(names) if name.strip()]
    found: dict[str, Speaker] = {}
    for name in listed:
        speaker = _recognise(name.strip().casefold(), known)
        if speaker:
            found[name] = speaker
    if "teacher" in found.values():
        for name in listed:
            found.setdefault(name, "student")
    return found


def _recognise(name: str, known: Mapping[str, Speaker]) -> Speaker | None:
    if name in known:
        return known[name]
    if _TEACHER.fullmatch(name):
        return "teacher"
    return "student" if _STUDENT.fullmatch(name) else None
