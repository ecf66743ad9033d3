"""Names of speakers."""

import pytest

from tables.speakers import assign_speakers


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["T", "SS", "Maya"], {"T": "teacher", "SS": "student", "Maya": "student"}),
        (["师", "生1", "生2"], {"师": "teacher", "生1": "student", "生2": "student"}),
        (["王老师", "小明"], {"王老师": "teacher", "小明": "student"}),
        (["Ms. Li", "S12"], {"Ms. Li": "teacher", "S12": "student"}),
        (["multiple students", "Teacher"], {"multiple students": "student", "Teacher": "teacher"}),
        (["Maya", "Tom"], {}),
        (["Maya", "S"], {"S": "student"}),
        (["Mrsa", "", " "], {}),
    ],
)
def test_one_teacher_makes_all_others_students(names: list[str], expected: dict[str, str]) -> None:
    assert assign_speakers(names) == expected


def test_names_that_a_person_has_told_go_first() -> None:
    assert assign_speakers(["A", "B"], {"a": "teacher"}) == {"A": "teacher", "B": "student"}
