from tests.deploy.promql import find_names


def test_names_of_an_expression_with_everything() -> None:
    names = find_names(
        'histogram_quantile(0.95, sum by (le, route) (rate(a_bucket{job="x y", le!="b{c"}[5m])))'
        " / on (task) group_left () (b:c:d + 10) > bool 1e3 and changes(up[1h:5m] offset 1d) or e"
    )
    assert names.selectors == [
        ("a_bucket", frozenset({"job", "le"})),
        ("b:c:d", frozenset()),
        ("up", frozenset()),
        ("e", frozenset()),
    ]
    assert names.grouping == {"le", "route", "task"}
