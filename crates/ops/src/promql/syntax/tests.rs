//! Expressions that are PromQL, and mistakes with their messages.

use super::*;

#[test]
fn expressions_have_types() {
    for text in [
        "a",
        "a:b{c=\"d\", e!~'f|g',}",
        "{__name__=\"a\"}",
        "sum by (a, b) (rate(c_total{d=~\"5..\"}[5m]))",
        "sum(rate(c[5m])) without (x)",
        "sum by () (a)",
        "-a ^ 2 + 3 * b / ignoring(c) group_left(d) e",
        "a and on (b) c or d unless e",
        "a > bool 5 and b <= 3",
        "topk(3, a) + quantile(0.9, b)",
        "histogram_quantile(0.95, sum by (le) (rate(a_bucket[5m])))",
        "max_over_time((time() - a)[1h:5m]) / vector(1)",
        "rate(a[5m] offset 1h) + a offset -1d",
        "label_replace(a, \"b\", \"$1\", \"c\", \"(.*)\")",
        "round(a) + round(a, 5) + hour() + day_of_week(b)",
        "1e3 + .5 + 0x1F + Inf + NaN",
        "sum",
    ] {
        let checked = check(text).unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(checked.value, Type::Vector | Type::Scalar), "{text}");
    }
    assert_eq!(check("1 + time()").unwrap().value, Type::Scalar);
    let checked = check("sum by (a) (b{c='d'}) + (e)").unwrap();
    assert!(checked.is_sum);
    assert_eq!(checked.selectors, [12..20, 25..26]);
    assert!(!check("max(a)").unwrap().is_sum && !check("a - b").unwrap().is_sum);
    assert!(!check("a offset 5m").unwrap().is_sum);
}

#[test]
fn mistakes_have_columns() {
    let cases = [
        ("", 1, "expected an expression"),
        ("sum(a", 6, "expected `)`"),
        ("rate(a)", 6, "expected a range vector, not an instant vector"),
        ("sum(a[5m])", 5, "expected an instant vector, not a range vector"),
        ("a[5m]", 1, "use `rate(...)`"),
        ("a[5]", 3, "expected a duration"),
        ("(a)[5m]", 4, "write `[1h:5m]`"),
        ("rates(a[5m])", 1, "no function `rates`"),
        ("rate()", 1, "needs 1 arguments"),
        ("rate(a[5m], 2)", 13, "no more than 1 arguments"),
        ("1 > 2", 3, "`> bool`"),
        ("1 and a", 3, "an instant vector on both sides"),
        ("{}", 1, "neither a name nor a label"),
        ("{a=~\".*\"}", 1, "neither a name nor a label"),
        ("a{b}", 4, "expected `=`"),
        ("a{b=c}", 5, "a value in quotes"),
        ("a{__name__='b'}", 3, "has a name already"),
        ("ä", 1, "unexpected `ä`"),
        ("a 'b'", 3, "unexpected `'b'`"),
        ("a # b", 3, "comments"),
        ("a{b=\"c", 5, "no end"),
        ("a{b=\"\\q\"}", 5, "escape"),
        ("sum by a (b)", 8, "expected `(`"),
        ("'a'", 1, "it is a text"),
        ("-'a'", 2, "a text has no sign"),
        ("a + 'b'", 3, "a text has no `+`"),
        ("sum(a) offset 5m", 8, "only a selector or a subquery"),
        ("a @ 5", 3, "`@` is not supported"),
        ("a or", 5, "expected an expression"),
    ];
    for (text, column, message) in cases {
        let error = check(text).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
    let deep = "(".repeat(100_000);
    assert!(check(&deep).unwrap_err().message.contains("too deeply"));
}
