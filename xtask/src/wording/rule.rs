//! The rules for comments and docs: openers of summaries, words of our own, width.

use super::{
    Check, Finding,
    comment::{Comment, Kind, Language, Source},
};

/// The words that no summary line opens with.
const OPENERS: [&str; 9] = ["What", "Whether", "How", "Where", "Which", "Why", "Who", "Says", "Tells"];

/// Words and phrases that do not occur, each with what to write instead.
const WORDS: [(&[&str], &str); 9] = [
    (&["told"], "\"receives\", \"is reported to\", \"is sent to\", \"is notified\""),
    (&["tells"], "\"reports\", \"sends\", \"returns\", \"shows\", \"distinguishes\""),
    (&["anew"], "\"again\", or name what is made: \"rebuilt\", \"a new one\""),
    (&["nobody"], "\"no one\", or name who: \"no caller\", \"no reader\""),
    (&["gives", "way"], "\"is withdrawn\""),
    (&["given", "way"], "\"was withdrawn\""),
    (&["give", "way"], "\"is withdrawn\""),
    (&["gave", "way"], "\"was withdrawn\""),
    (&["giving", "way"], "\"is withdrawn\""),
];

/// The columns that a line with a comment may have.
const WIDTH: usize = 100;

/// Checks the comments of one file.
pub(super) fn check(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    summaries(source, &mut findings);
    words(source, &mut findings);
    if source.language != Language::Markdown {
        widths(source, &mut findings);
    }
    findings
}

/// Finds summary lines that open with a question's word.
fn summaries(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let is_summary = |comment: &&Comment<'_>| comment.is_first && matches!(comment.kind, Kind::Outer | Kind::Inner);
    for comment in source.comments.iter().filter(is_summary) {
        // The text of a block comment begins on its first line or on the one below.
        let comment = match comment.text {
            "" => source.comments.iter().find(|other| other.line == comment.line + 1).unwrap_or(comment),
            _ => comment,
        };
        let opener =
            comment.text.trim_start_matches(['*', '_', '"', '(']).split(|at: char| !at.is_alphanumeric()).next();
        let remedy = match opener.and_then(|opener| OPENERS.iter().find(|word| **word == opener)) {
            None => continue,
            Some(&"Whether") => "write \"Returns `true` if ...\", or for a field \"`true` if ...\"",
            Some(&("Says" | "Tells")) => "begin with \"Returns\", \"Reports\" or \"Prints\"",
            Some(_) => {
                "name the thing (\"The retry delay of a failed batch.\") or begin with a verb (\"Returns\", \"Merges\")"
            }
        };
        findings.push(source.finding(Check::Summary, comment.line, comment.text, remedy));
    }
}

/// Finds words of our own, outside of code in backticks.
fn words(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let mut words: Vec<(String, &Comment<'_>)> = Vec::new();
    for comment in &source.comments {
        let prose = comment.text.split('`').step_by(2).collect::<Vec<_>>().join(" ` ");
        let split = prose.split(|at: char| !at.is_alphanumeric() && at != '_').filter(|word| !word.is_empty());
        words.extend(split.map(|word| (word.to_lowercase(), comment)));
    }
    for at in 0..words.len() {
        let is_phrase = |phrase: &[&str]| {
            let mut found = words.iter().skip(at).take(phrase.len());
            let same = found.clone().map(|(word, _)| word.as_str()).eq(phrase.iter().copied());
            same && found.next_back().is_some_and(|(_, last)| last.line <= words[at].1.line + 1)
        };
        if let Some((phrase, instead)) = WORDS.iter().find(|(phrase, _)| is_phrase(phrase)) {
            let (phrase, comment) = (phrase.join(" "), words[at].1);
            let remedy = format!("instead of \"{phrase}\" write {instead}");
            findings.push(source.finding(Check::Word, comment.line, comment.text, remedy));
        }
    }
}

/// Finds lines that are too wide and could be broken: no tables, no links, no fenced code.
fn widths(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let mut last = 0;
    let mut is_fenced = false;
    for comment in &source.comments {
        is_fenced = !comment.is_first && is_fenced ^ comment.text.starts_with("```")
            || comment.is_first && comment.text.starts_with("```");
        let is_table = comment.text.starts_with('|');
        let is_one_word = !comment.text.contains(char::is_whitespace);
        let is_exempt = is_fenced || is_table || is_one_word || comment.text.contains("://");
        if comment.width > WIDTH && !is_exempt && comment.line != last {
            let remedy = format!("the line has {} columns; break it at {WIDTH}", comment.width);
            findings.push(source.finding(Check::Width, comment.line, comment.text, remedy));
            last = comment.line;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the check and line of each finding.
    fn found(text: &str, language: Language) -> Vec<(Check, usize)> {
        let findings = check(&Source::scan("a", text, language));
        findings.iter().map(|finding| (finding.check, finding.line)).collect()
    }

    #[test]
    fn summary_must_not_open_with_question() {
        for opener in OPENERS {
            let text = format!("/// {opener} it is.\n/// {opener} more.\nfn f() {{}}\n// {opener} else.\n");
            let summaries = found(&text, Language::Rust).into_iter().filter(|(check, _)| *check == Check::Summary);
            assert_eq!(summaries.collect::<Vec<_>>(), [(Check::Summary, 1)], "{opener}");
        }
        assert_eq!(found("/**\n * Whether.\n */\n", Language::Script), [(Check::Summary, 2)]);
        assert_eq!(found("//! **What** it is.\n", Language::Rust), [(Check::Summary, 1)]);
        assert_eq!(found("/// Whatever it is.\n/// How.\n", Language::Rust), []);
    }

    #[test]
    fn words_are_found_across_lines() {
        assert_eq!(found("// It is told, Anew.\n", Language::Rust), [(Check::Word, 1), (Check::Word, 1)]);
        assert_eq!(found("// It gives\n// way.\n", Language::Rust), [(Check::Word, 1)]);
        assert_eq!(found("A text:\n\nNobody.\n", Language::Markdown), [(Check::Word, 3)]);
    }

    #[test]
    fn words_in_code_are_left() {
        assert_eq!(found("// `told`, not_told, untold, foretold\nlet told = \"told\";\n", Language::Rust), []);
        assert_eq!(found("// gives\nf();\nf();\n// way\n", Language::Rust), []);
    }

    #[test]
    fn fenced_code_may_be_wide() {
        let wide = "a ".repeat(60);
        let text = format!("/// a\n/// ```sh\n/// {wide}\n/// ```\n/// {wide}\nf();\n/// ```\nf();\n/// {wide}\n");
        assert_eq!(found(&text, Language::Rust), [(Check::Width, 5), (Check::Width, 9)]);
    }

    #[test]
    fn wide_comments_are_found_once() {
        let wide = "a ".repeat(48);
        assert_eq!(found(&format!("// {wide}a\n// {wide}aa\n"), Language::Rust), [(Check::Width, 2)]);
        let code = format!("let a = \"{wide}aaaaaa\";\n");
        assert_eq!(found(&code, Language::Rust), []);
        assert_eq!(found(&format!("// | {wide} |\n// https://{wide}\n// {}\n", "a".repeat(99)), Language::Rust), []);
    }
}
