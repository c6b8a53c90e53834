//! Comments, found by a scanner that knows strings, raw strings, characters, templates and nested
//! comments.

use super::{Check, Finding};

/// A syntax of comments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Language {
    /// Rust, and WIT, whose comments are the same.
    Rust,
    /// JavaScript and TypeScript.
    Script,
    Toml,
    Python,
    /// All of a document is text.
    Markdown,
}

impl Language {
    /// Returns the language of a file by its extension, or `None` if it has no comments that this
    /// module finds.
    pub(super) fn of(file: &str) -> Option<Self> {
        match file.rsplit_once('.')?.1 {
            "rs" | "wit" => Some(Self::Rust),
            "js" | "mjs" | "cjs" | "ts" => Some(Self::Script),
            "toml" => Some(Self::Toml),
            "py" => Some(Self::Python),
            "md" => Some(Self::Markdown),
            _ => None,
        }
    }
}

/// The kind of a comment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Plain,
    /// Documentation of what follows: `///`, `/**`, a docstring.
    Outer,
    /// Documentation of what encloses it: `//!`, `/*!`.
    Inner,
    /// A line of a Markdown document.
    Prose,
}

/// One line of a comment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Comment<'a> {
    pub(super) kind: Kind,
    /// The line's number, from 1.
    pub(super) line: usize,
    /// The text without the comment's marks and the space around it.
    pub(super) text: &'a str,
    /// The column after the line's last character, which is the line's width.
    pub(super) width: usize,
    /// Returns `true` on the first line of a comment, which consecutive line comments of one kind
    /// form together.
    pub(super) is_first: bool,
}

/// A file whose comments have been found.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    pub(super) language: Language,
    pub(super) comments: Vec<Comment<'a>>,
    /// The text with spaces in place of comments and of what strings contain: each byte is where it
    /// was.
    pub(super) code: String,
}

impl<'a> Source<'a> {
    /// Finds the comments of `text`.
    pub(super) fn scan(path: &'a str, text: &'a str, language: Language) -> Self {
        let mut scanner = Scanner { text, at: 0, line: 1, comments: Vec::new(), code: text.as_bytes().to_vec() };
        match language {
            Language::Rust => scanner.rust(),
            Language::Script => scanner.script(),
            Language::Toml | Language::Python => scanner.hash(language),
            Language::Markdown => {
                scanner.add_lines(Kind::Prose, text);
                scanner.skip(text.len(), true);
            }
        }
        let Scanner { comments, code, .. } = scanner;
        // Only whole characters are replaced, by one space a byte.
        let code = String::from_utf8_lossy(&code).into_owned();
        Self { path, text, language, comments, code }
    }

    /// Makes a finding at a line of this file.
    pub(super) fn finding(&self, check: Check, line: usize, text: &str, remedy: impl Into<String>) -> Finding {
        Finding { check, path: self.path.to_owned(), line, text: text.to_owned(), remedy: remedy.into() }
    }

    /// Returns the number of the line that holds the byte `at`.
    pub(super) fn line_of(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count()
    }
}

/// A walk over a text, byte by byte: every mark that it knows is ASCII.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    comments: Vec<Comment<'a>>,
    code: Vec<u8>,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn starts_with(&self, mark: &str) -> bool {
        self.text.as_bytes()[self.at..].starts_with(mark.as_bytes())
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// Goes `count` bytes on; blanks them in the code if they are no code.
    fn skip(&mut self, count: usize, blank: bool) {
        for _ in 0..count.min(self.text.len() - self.at) {
            if self.text.as_bytes()[self.at] == b'\n' {
                self.line += 1;
            } else if blank {
                self.code[self.at] = b' ';
            }
            self.at += 1;
        }
    }

    /// Goes over what is left of an identifier or number; returns it.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|at: char| !is_word(at)).unwrap_or(rest.len());
        self.skip(end, false);
        &rest[..end]
    }

    /// Adds each line of a comment, whose marks are `text`'s first and last bytes.
    fn add_lines(&mut self, kind: Kind, text: &'a str) {
        let from = self.line;
        for (offset, line) in text.lines().enumerate() {
            let start = self.text.len() - (self.text.len() - offset_of(self.text, line));
            let row = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
            let row = self.text[row..].lines().next().unwrap_or_default();
            let continues = offset > 0 || self.continues(kind, from, row);
            let text = if kind == Kind::Prose { line.trim() } else { without_marks(line) };
            self.comments.push(Comment {
                kind,
                line: from + offset,
                text,
                width: row.trim_end().chars().count(),
                is_first: !continues,
            });
        }
    }

    /// Returns `true` if a line comment alone on its row goes on with the comment of the row above.
    fn continues(&self, kind: Kind, line: usize, row: &str) -> bool {
        let alone = row.trim_start().starts_with("//") || row.trim_start().starts_with('#');
        alone && self.comments.last().is_some_and(|last| last.kind == kind && last.line + 1 == line)
    }

    /// Takes a comment of `length` bytes from here.
    fn comment(&mut self, kind: Kind, length: usize) {
        let text = &self.rest()[..length];
        self.add_lines(kind, text);
        self.skip(length, true);
    }

    fn line_comment(&mut self, kind: Kind) {
        let length = self.rest().find('\n').unwrap_or(self.rest().len());
        self.comment(kind, length);
    }

    /// Takes a comment `/* ... */`, in which others may be nested.
    fn block_comment(&mut self, nests: bool) {
        let rest = self.rest();
        let kind = match rest.as_bytes().get(2..4) {
            Some([b'*', next]) if *next != b'*' && *next != b'/' => Kind::Outer,
            Some([b'!', _]) if nests => Kind::Inner,
            _ => Kind::Plain,
        };
        let (mut depth, mut length) = (0, 0);
        while length < rest.len() {
            let bytes = &rest.as_bytes()[length..];
            if bytes.starts_with(b"/*") && (nests || depth == 0) {
                (depth, length) = (depth + 1, length + 2);
            } else if bytes.starts_with(b"*/") {
                (depth, length) = (depth - 1, length + 2);
                if depth == 0 {
                    break;
                }
            } else {
                length += 1;
            }
        }
        self.comment(kind, length);
    }

    /// Goes over a string up to its closing `mark`; its marks stay in the code.
    fn string(&mut self, mark: &str, escapes: bool, one_line: bool) {
        self.skip(mark.len(), false);
        while self.at < self.text.len() {
            if self.starts_with(mark) {
                return self.skip(mark.len(), false);
            }
            match self.peek(0) {
                Some(b'\\') if escapes => self.skip(2, true),
                Some(b'\n') if one_line => return,
                _ => self.skip(1, true),
            }
        }
    }

    fn rust(&mut self) {
        while let Some(next) = self.peek(0) {
            if self.starts_with("//") {
                let kind = match (self.peek(2), self.peek(3)) {
                    (Some(b'/'), Some(b'/')) => Kind::Plain,
                    (Some(b'/'), _) => Kind::Outer,
                    (Some(b'!'), _) => Kind::Inner,
                    _ => Kind::Plain,
                };
                self.line_comment(kind);
            } else if self.starts_with("/*") {
                self.block_comment(true);
            } else if next == b'"' {
                self.string("\"", true, false);
            } else if next == b'\'' {
                self.character();
            } else if is_word(char::from(next)) {
                let word = self.word();
                let hashes = self.rest().bytes().take_while(|byte| *byte == b'#').count();
                if matches!(word, "r" | "br" | "cr") && self.peek(hashes) == Some(b'"') {
                    self.skip(hashes, false);
                    self.raw_string(hashes);
                }
            } else {
                self.skip(1, false);
            }
        }
    }

    /// Goes over a raw string from its quote; `hashes` were before it.
    fn raw_string(&mut self, hashes: usize) {
        self.skip(1, false);
        let close = format!("\"{}", "#".repeat(hashes));
        let length = self.rest().find(&close).unwrap_or(self.rest().len());
        self.skip(length, true);
        self.skip(close.len(), false);
    }

    /// Goes over a character such as `'"'` or `'\''`, or the quote of a lifetime.
    fn character(&mut self) {
        let mut inside = self.rest()[1..].chars();
        match (inside.next(), inside.next()) {
            (Some('\\'), _) => self.string("'", true, true),
            (Some(_), Some('\'')) => self.string("'", false, true),
            _ => self.skip(1, false),
        }
    }

    fn script(&mut self) {
        // Templates that this is inside of, by the braces that are open in each `${...}`.
        let mut templates: Vec<usize> = Vec::new();
        // A slash begins a regular expression where no value precedes it.
        let mut after_value = false;
        while let Some(next) = self.peek(0) {
            if self.starts_with("//") {
                self.line_comment(Kind::Plain);
                continue;
            } else if self.starts_with("/*") {
                self.block_comment(false);
                continue;
            }
            match next {
                b'"' => self.string("\"", true, true),
                b'\'' => self.string("'", true, true),
                b'`' => self.template(&mut templates),
                b'/' if !after_value => self.regular_expression(),
                b'}' if templates.last() == Some(&0) => {
                    templates.pop();
                    self.template(&mut templates);
                }
                b'{' | b'}' => {
                    if let Some(open) = templates.last_mut() {
                        *open = if next == b'{' { *open + 1 } else { *open - 1 };
                    }
                    self.skip(1, false);
                }
                _ if is_word(char::from(next)) => {
                    let word = self.word();
                    after_value = !matches!(word, "return" | "case" | "typeof" | "of" | "in" | "await" | "yield");
                    continue;
                }
                _ => self.skip(1, false),
            }
            if !next.is_ascii_whitespace() {
                after_value = matches!(next, b')' | b']' | b'}' | b'"' | b'\'' | b'`');
            }
        }
    }

    /// Goes over a template's text, from its opening quote or the brace after a value, up to its
    /// end or the next value.
    fn template(&mut self, templates: &mut Vec<usize>) {
        self.skip(1, false);
        while let Some(next) = self.peek(0) {
            if self.starts_with("${") {
                templates.push(0);
                return self.skip(2, false);
            }
            match next {
                b'`' => return self.skip(1, false),
                b'\\' => self.skip(2, true),
                _ => self.skip(1, true),
            }
        }
    }

    /// Goes over a regular expression, in which a class may contain a slash.
    fn regular_expression(&mut self) {
        self.skip(1, false);
        let mut in_class = false;
        while let Some(next) = self.peek(0).filter(|next| *next != b'\n') {
            match next {
                b'\\' => self.skip(1, true),
                b'/' if !in_class => return self.skip(1, false),
                b'[' => in_class = true,
                b']' => in_class = false,
                _ => {}
            }
            self.skip(1, true);
        }
    }

    /// Finds comments that begin with `#`, and Python's docstrings.
    fn hash(&mut self, language: Language) {
        while let Some(next) = self.peek(0) {
            let triple = ["\"\"\"", "'''"].into_iter().find(|mark| self.starts_with(mark));
            let is_alone = self.text[..self.at].rsplit('\n').next().unwrap_or_default().trim().is_empty();
            match (next, triple) {
                (b'#', _) => self.line_comment(Kind::Plain),
                (_, Some(mark)) if language == Language::Python && is_alone => {
                    let inside = &self.rest()[mark.len()..];
                    let length = inside.find(mark).map_or(self.rest().len(), |at| at + 2 * mark.len());
                    self.comment(Kind::Outer, length);
                }
                (_, Some(mark)) => self.string(mark, next == b'"' || language == Language::Python, false),
                (b'"', None) => self.string("\"", true, true),
                (b'\'', None) => self.string("'", language == Language::Python, true),
                _ => self.skip(1, false),
            }
        }
    }
}

/// Returns where `part`, which is a slice of `whole`, begins in it.
fn offset_of(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// Returns `true` for characters of identifiers, keywords and numbers.
fn is_word(at: char) -> bool {
    at.is_alphanumeric() || at == '_' || !at.is_ascii()
}

/// Removes a comment's marks and the space around its text.
fn without_marks(line: &str) -> &str {
    let line = line.trim().trim_end_matches("*/").trim_end_matches("\"\"\"");
    let line = line.trim_start_matches("\"\"\"").trim_start_matches('#');
    let line = line.trim_start_matches('/');
    line.trim_start_matches(['*', '!']).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the comments of a text, each as its line and text.
    fn comments(text: &str, language: Language) -> Vec<(usize, String)> {
        let source = Source::scan("a", text, language);
        assert_eq!(source.code.len(), text.len());
        source.comments.iter().map(|comment| (comment.line, comment.text.to_owned())).collect()
    }

    fn texts(text: &str, language: Language) -> Vec<String> {
        comments(text, language).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn rust_comments_have_their_lines() {
        let text = "//! One.\nfn f() {} // two\n/* three\n * four */ /// five\n";
        let expected = [(1, "One."), (2, "two"), (3, "three"), (4, "four"), (4, "five")];
        assert_eq!(comments(text, Language::Rust), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn rust_strings_are_no_comments() {
        for text in [
            r#"let a = "// no"; // yes"#,
            r#"let a = "\"// no"; // yes"#,
            "let a = \"\n// no\n\"; // yes",
            r##"let a = r#"" // no"#; // yes"##,
            r#"let a = br"\"; // yes"#,
            r#"let a = c"/*"; // yes"#,
            r#"let a = '"'; // yes"#,
            r#"let a = b'\''; let b = '\\'; // yes"#,
            r#"fn f<'a>(a: &'a str, b: char) -> r#type { 'é' } // yes"#,
            r#"let bar = "r"; let r = 1; // yes"#,
        ] {
            assert_eq!(texts(text, Language::Rust), ["yes"], "{text}");
        }
    }

    #[test]
    fn rust_block_comments_nest() {
        assert_eq!(texts("/* a /* b */ c */ fn f() {} /* d */", Language::Rust), ["a /* b */ c", "d"]);
    }

    #[test]
    fn rust_doc_comments_have_their_kind() {
        let kinds = |text| Source::scan("a", text, Language::Rust).comments.iter().map(|c| c.kind).collect::<Vec<_>>();
        let text = "//! a\n/*! b */\n/// c\n/** d */\n// e\n//// f\n/* g */\n/*** h */\n/**/";
        let (inner, outer, plain) = (Kind::Inner, Kind::Outer, Kind::Plain);
        assert_eq!(kinds(text), [inner, inner, outer, outer, plain, plain, plain, plain, plain]);
    }

    #[test]
    fn rust_line_comments_form_blocks() {
        let first =
            |text| Source::scan("a", text, Language::Rust).comments.iter().map(|c| c.is_first).collect::<Vec<_>>();
        assert_eq!(first("/// a\n/// b\n\n/// c\n// d\nlet e; // e\n// f\n"), [true, false, true, true, true, false]);
    }

    #[test]
    fn code_keeps_places_and_loses_texts() {
        let source = Source::scan("a", "f(\"é//\"); // x\ng();", Language::Rust);
        assert_eq!(source.code, "f(\"    \");     \ng();");
        assert_eq!(source.line_of(source.code.find('g').expect("it is there")), 2);
    }

    #[test]
    fn script_strings_are_no_comments() {
        for text in [
            "const a = '// no'; // yes",
            "const a = `// no ${b(`/* no */`, {c: 1})} // no`; // yes",
            "const a = /[/\"]\\/\\//; // yes",
            "f(a / b, /'/); // yes",
            "return /`/.test(a) // yes",
            "a = (b) / c; // yes",
        ] {
            assert_eq!(texts(text, Language::Script), ["yes"], "{text}");
        }
        assert_eq!(texts("/** a /* b */ c(); // d", Language::Script), ["a /* b", "d"]);
    }

    #[test]
    fn hash_strings_are_no_comments() {
        assert_eq!(texts("a = \"# no\" # yes\nb = 'C:\\' # yes\n", Language::Toml), ["yes", "yes"]);
        assert_eq!(
            texts("\"\"\"One.\n\nTwo.\"\"\"\na = \"#\" # three\n", Language::Python),
            ["One.", "", "Two.", "three"]
        );
    }

    #[test]
    fn width_counts_characters_of_the_row() {
        let source = Source::scan("a", "    // é\nlet a = 1; // b  \n", Language::Rust);
        assert_eq!(source.comments.iter().map(|comment| comment.width).collect::<Vec<_>>(), [8, 15]);
    }
}
