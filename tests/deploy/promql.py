"""As much of PromQL's grammar as tells which metrics and labels an expression names."""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\[[^\]]*\]|[A-Za-z_:][A-Za-z0-9_:]*|\d[\w.]*|\S')
_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_LABEL_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_OPERATORS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


@dataclass
class Names:
    """What an expression refers to."""

    selectors: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    """Each metric with the labels its braces name."""
    grouping: set[str] = field(default_factory=set)
    """Labels of by, on and their like."""

    @property
    def metrics(self) -> set[str]:
        return {metric for metric, _ in self.selectors}


def find_names(expr: str) -> Names:
    """Return the metrics and labels of an expression."""
    tokens = [*_TOKEN.findall(expr), ""]
    names = Names()
    position = 0
    while position < len(tokens) - 1:
        token, following = tokens[position], tokens[position + 1]
        position += 1
        if token in _LABEL_LISTS:
            if following == "(":
                end = tokens.index(")", position)
                names.grouping |= {name for name in tokens[position:end] if _NAME.fullmatch(name)}
                position = end + 1
        elif (
            _NAME.fullmatch(token)
            and token.lower() not in _OPERATORS
            and not (
                following == "(" or following in _LABEL_LISTS  # a function, an aggregation
            )
        ):
            labels: frozenset[str] = frozenset()
            if following == "{":
                end = tokens.index("}", position)
                inside = tokens[position + 1 : end]
                labels = frozenset(name for name in inside if _NAME.fullmatch(name))
                position = end + 1
            names.selectors.append((token, labels))
    return names
