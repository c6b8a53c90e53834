//! The names of tests, which have six words at most: the sentence goes into a comment.

use super::{
    Check, Finding,
    comment::{Language, Source},
};

/// The words that a test's name may have.
const WORDS: usize = 6;

const REMEDY: &str = "name it subject_condition_outcome, and put the sentence into a comment";

/// Checks the tests of one file.
pub(super) fn check(source: &Source<'_>) -> Vec<Finding> {
    let names = match source.language {
        Language::Rust => rust_tests(source),
        Language::Script => script_tests(source),
        _ => Vec::new(),
    };
    let words =
        |name: &str| name.split(|at: char| at == '_' || at.is_whitespace()).filter(|word| !word.is_empty()).count();
    let long = names.into_iter().filter(|(_, name)| words(name) > WORDS);
    let remedy = |name: &str| format!("{} words, at most {WORDS}: {REMEDY}", words(name));
    long.map(|(at, name)| source.finding(Check::TestName, source.line_of(at), name, remedy(name))).collect()
}

/// Finds functions below an attribute `#[test]` or one whose path ends so.
fn rust_tests<'a>(source: &'a Source<'_>) -> Vec<(usize, &'a str)> {
    let code = source.code.as_str();
    let attributes = code.match_indices("#[").filter(|(at, _)| {
        let path = code[at + 2..].split([']', '(']).next().unwrap_or_default();
        path.rsplit("::").next().is_some_and(|last| last.trim() == "test")
    });
    let name = |at: usize| {
        let function = [" fn ", "\nfn "].into_iter().filter_map(|word| code[at..].find(word)).min()?;
        let at = at + function + " fn ".len();
        Some((at, code[at..].split(['(', '<']).next()?.trim()))
    };
    attributes.filter_map(|(at, _)| name(at)).collect()
}

/// Finds calls of `test` or `it` whose first argument is a title.
fn script_tests<'a>(source: &'a Source<'_>) -> Vec<(usize, &'a str)> {
    let code = source.code.as_str();
    let calls = ["test(", "it("].into_iter().flat_map(|call| code.match_indices(call)).filter(|(at, _)| {
        !code[..*at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '_' | '.'))
    });
    let title = |at: usize| {
        let rest = code[at..].trim_start();
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\'' | '`'))?;
        let at = code.len() - rest.len() + 1;
        let length = code[at..].find(quote)?;
        Some((at, &source.text[at..at + length]))
    };
    calls.filter_map(|(at, call)| title(at + call.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, language: Language) -> Vec<(usize, String)> {
        let findings = check(&Source::scan("a", text, language));
        findings.into_iter().map(|finding| (finding.line, finding.text)).collect()
    }

    #[test]
    fn rust_test_names_are_counted() {
        let text = "#[test]\nfn one_two_three_four_five_six() {}\n\
            #[tokio::test(flavor = \"multi_thread\")]\n#[cfg(unix)]\nasync fn a_b_c_d_e_f_g() {}\n\
            fn no_test_but_a_helper_of_some() {}\n// #[test]\nconst A: &str = \"#[test] fn x_x_x_x_x_x_x()\";\n";
        assert_eq!(found(text, Language::Rust), [(5, "a_b_c_d_e_f_g".to_owned())]);
    }

    #[test]
    fn script_titles_are_counted() {
        let text = "test(\"one two three four five six\", f);\ntest(\n  'a b c d e f g',\n  f);\n\
            re.test(\"a b c d e f g\");\nawait(\"a b c d e f g\");\nit(title, f);\n";
        assert_eq!(found(text, Language::Script), [(3, "a b c d e f g".to_owned())]);
    }
}
