"""Requests of our own for `/docs` and the first line a new operator sees; all work when pasted."""

from typing import Any

from contract.inputs import Kind

PROBLEM_EXAMPLE = {"text": "一个果园收了96千克苹果，每筐最多装8千克，至少需要多少个筐？"}
TURN_EXAMPLE = {
    "speaker": "teacher",
    "text": "很好，那你能说说为什么要先算括号里面的吗？",
    "previous": [{"speaker": "student", "text": "我先算括号里的，等于12。"}],
    "following": [{"speaker": "student", "text": "因为括号里的要先算，不然结果会变。"}],
}
EXAMPLES: dict[Kind, dict[str, Any]] = {"problem": PROBLEM_EXAMPLE, "dialogue-turn": TURN_EXAMPLE}
BATCH_EXAMPLES: dict[Kind, dict[str, Any]] = {
    "problem": {
        "items": [
            {"id": "p1", **PROBLEM_EXAMPLE},
            {"id": "p2", "text": "下面哪个分数最大：二分之一、三分之一、五分之一？"},
        ]
    },
    "dialogue-turn": {
        "items": [
            {"id": "t1", **TURN_EXAMPLE},
            {"id": "t2", "speaker": "student", "text": "老师，我今天有点累。"},
        ]
    },
}
DIALOGUE_EXAMPLE = {
    "turns": [
        {"speaker": "teacher", "text": "三角形的内角和是多少度？"},
        {"speaker": "student", "text": "一百八十度。"},
        {"speaker": "teacher", "text": "对，那我们用这个来求第三个角。"},
    ],
}
FILE_EXAMPLES: dict[str, dict[str, str]] = {
    "read": {"file": "text\n一个果园收了96千克苹果，每筐最多装8千克，至少需要多少个筐？\n"},
    "write": {
        "format": "csv",
        "base": '{"columns": ["text"], "rows": [["三角形的内角和是多少度？"]]}',
        "columns": '{"names": ["label"], "rows": [["recall"]]}',
    },
}
