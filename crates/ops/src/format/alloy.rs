//! The syntax of Grafana Alloy's configuration: blocks, attributes and values, formatted as `alloy
//! fmt` does.
//!
//! Source: <https://grafana.com/docs/alloy/latest/get-started/configuration-syntax/>.

use std::fmt::Write as _;

/// A block: a name, a label, and a body.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    name: &'static str,
    label: Option<&'static str>,
    comment: Option<&'static str>,
    body: Vec<Statement>,
}

#[derive(Clone, Debug)]
enum Statement {
    Attribute(&'static str, Value),
    Block(Block),
}

/// A value of an attribute.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A text, which is quoted.
    Text(String),
    /// `true` or `false`.
    Flag(bool),
    /// Another component's export, such as `loki.write.loki.receiver`.
    Reference(&'static str),
    /// A list in one line.
    List(Vec<Value>),
    /// A list with one value in each line.
    Lines(Vec<Value>),
    /// A map in one line, with quoted keys.
    Map(Vec<(&'static str, String)>),
    /// A map of identifiers to texts, with one pair in each line.
    Names(Vec<(&'static str, &'static str)>),
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn texts(texts: &[&str]) -> Self {
        Self::List(texts.iter().map(|text| Self::text(*text)).collect())
    }

    pub(crate) fn references(of: &[&'static str]) -> Self {
        Self::List(of.iter().map(|name| Self::Reference(name)).collect())
    }

    fn is_multiline(&self) -> bool {
        matches!(self, Self::Lines(_) | Self::Names(_))
    }

    /// Returns the value as it stands in a body of this depth.
    fn written(&self, depth: usize) -> String {
        let list = |values: &[Self]| values.iter().map(|value| value.written(depth)).collect::<Vec<_>>().join(", ");
        match self {
            Self::Text(text) => quoted(text),
            Self::Flag(flag) => flag.to_string(),
            Self::Reference(name) => (*name).to_owned(),
            Self::List(values) => format!("[{}]", list(values)),
            Self::Lines(values) => {
                let lines: String =
                    values.iter().map(|value| format!("{}{},\n", tabs(depth + 1), value.written(depth + 1))).collect();
                format!("[\n{lines}{}]", tabs(depth))
            }
            Self::Map(pairs) => {
                let pairs: Vec<_> =
                    pairs.iter().map(|(key, value)| format!("{} = {}", quoted(key), quoted(value))).collect();
                format!("{{{}}}", pairs.join(", "))
            }
            Self::Names(pairs) => {
                let width = pairs.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
                let pair =
                    |(key, value): &(&str, &str)| format!("{}{key:width$} = {},\n", tabs(depth + 1), quoted(value));
                format!("{{\n{}{}}}", pairs.iter().map(pair).collect::<String>(), tabs(depth))
            }
        }
    }
}

impl Block {
    /// Returns a block without a label.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, label: None, comment: None, body: Vec::new() }
    }

    /// Returns a component.
    pub(crate) fn component(name: &'static str, label: &'static str) -> Self {
        Self { label: Some(label), ..Self::new(name) }
    }

    /// Sets the comment above it, one line.
    pub(crate) fn comment(self, comment: &'static str) -> Self {
        Self { comment: Some(comment), ..self }
    }

    /// Appends an attribute.
    pub(crate) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.body.push(Statement::Attribute(name, value));
        self
    }

    /// Appends a block.
    pub(crate) fn block(mut self, block: Self) -> Self {
        self.body.push(Statement::Block(block));
        self
    }

    fn write(&self, depth: usize, out: &mut String) {
        let indent = tabs(depth);
        if let Some(comment) = self.comment {
            let _ = writeln!(out, "{indent}// {comment}");
        }
        let label = self.label.map(|label| format!(" {}", quoted(label))).unwrap_or_default();
        if self.body.is_empty() {
            let _ = writeln!(out, "{indent}{}{label} {{ }}", self.name);
            return;
        }
        let _ = writeln!(out, "{indent}{}{label} {{", self.name);
        for (at, statement) in self.body.iter().enumerate() {
            match statement {
                Statement::Attribute(name, value) => {
                    if at > 0 && matches!(self.body[at - 1], Statement::Block(_)) {
                        out.push('\n');
                    }
                    let width = self.width(at);
                    let _ = writeln!(out, "{}{name:width$} = {}", tabs(depth + 1), value.written(depth + 1));
                }
                Statement::Block(block) => {
                    if at > 0 {
                        out.push('\n');
                    }
                    block.write(depth + 1, out);
                }
            }
        }
        let _ = writeln!(out, "{indent}}}");
    }

    /// Returns the width of the names of the attributes that are aligned with this one: those of
    /// consecutive lines. A value of several lines is the last one that is aligned.
    fn width(&self, at: usize) -> usize {
        let name = |statement: &Statement| match statement {
            Statement::Attribute(name, value) => Some((name.len(), value.is_multiline())),
            Statement::Block(_) => None,
        };
        let before = self.body[..at].iter().rev().map_while(name).take_while(|(_, is_multiline)| !is_multiline);
        let mut width = before.map(|(width, _)| width).max().unwrap_or(0);
        for (own, is_multiline) in self.body[at..].iter().map_while(name) {
            width = width.max(own);
            if is_multiline {
                break;
            }
        }
        width
    }
}

/// Returns a file: comments, then blocks.
pub(crate) fn file(comments: &[String], blocks: &[Block]) -> String {
    let mut out: String = comments.iter().map(|line| format!("// {line}").trim_end().to_owned() + "\n").collect();
    for block in blocks {
        out.push('\n');
        block.write(0, &mut out);
    }
    out
}

fn tabs(depth: usize) -> String {
    "\t".repeat(depth)
}

/// Returns a string literal.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            char if char.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_aligned() {
        let block = Block::component("a.b", "c")
            .with("short", Value::text("a \"b\"\\\n\u{1}"))
            .with("names", Value::Names(vec![("x", ""), ("long", "y")]))
            .with("a", Value::Flag(true))
            .with("longer", Value::references(&["d.e"]))
            .block(Block::new("inner").comment("Why.").with("list", Value::texts(&["f", "g"])))
            .block(Block::new("empty"));
        let expected = "// Head\n\na.b \"c\" {\n\tshort = \"a \\\"b\\\"\\\\\\n\\u0001\"\n\tnames = {\n\t\tx    = \"\",\n\
                        \t\tlong = \"y\",\n\t}\n\ta      = true\n\tlonger = [d.e]\n\n\t// Why.\n\tinner {\n\
                        \t\tlist = [\"f\", \"g\"]\n\t}\n\n\tempty { }\n}\n";
        assert_eq!(file(&["Head".to_owned()], &[block]), expected);
    }
}
