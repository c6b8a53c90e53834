//! Arguments of other crates' metric macros, for which a message has wasmetry's form.

use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::token::Bracket;
use syn::{Error, Ident, LitStr, Result, Token, bracketed};

use crate::declaration;

/// A metric macro, and an example of its parameters.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) macro_name: &'static str,
    /// A metric's name.
    pub(crate) name: &'static str,
    /// A metric's help text.
    pub(crate) help: &'static str,
    /// An option that most metrics of the type have, with a comma before it.
    pub(crate) option: &'static str,
}

impl Usage {
    /// A call of the macro.
    pub(crate) fn call(&self, name: &str, help: &str, options: &str) -> String {
        format!("{}!(\"{name}\", \"{help}\"{options})", self.macro_name)
    }
}

/// Returns an error if the next argument is one of `prometheus` or of `metrics`: `&["method"]`,
/// `["method"]`, `"method" => "GET"`, `vec![1.0]`. `help` is the help text, if there is one.
pub(crate) fn argument(input: ParseStream<'_>, name: &LitStr, help: Option<&LitStr>, usage: Usage) -> Result<()> {
    let (fork, span) = (input.fork(), input.span());
    let help = help.map_or_else(|| usage.help.to_owned(), LitStr::value);
    let labels = |keys: &[String]| {
        let types: Vec<String> = keys.iter().map(|key| label(key)).collect();
        let example = usage.call(&name.value(), &help, &format!(", labels: [{}]", types.join(", ")));
        let message = format!(
            "labels are types, and their values are passed to `with`: write `{example}`, and derive `wasmetry::Label` for each type"
        );
        Err(Error::new(span, message))
    };
    fork.parse::<Option<Token![&]>>()?;
    if fork.peek(Ident) && fork.peek2(Token![!]) {
        fork.parse::<Ident>()?;
        fork.parse::<Token![!]>()?;
    }
    if fork.peek(Bracket) {
        let list;
        bracketed!(list in fork);
        return match Punctuated::<LitStr, Token![,]>::parse_terminated(&list) {
            Ok(keys) => labels(&keys.iter().map(LitStr::value).collect::<Vec<_>>()),
            Err(_) if usage.macro_name == "histogram" => {
                let example = usage.call(&name.value(), &help, ", buckets: [0.1, 0.5, 1]");
                Err(Error::new(span, format!("a histogram's bounds are an option: write `{example}`")))
            }
            Err(_) => Ok(()),
        };
    }
    // `"method" => "GET"` or `method = "GET"`.
    let key = match fork.parse::<LitStr>() {
        Ok(key) => key.value(),
        Err(_) => fork.call(Ident::parse_any).map(|key| key.to_string()).unwrap_or_default(),
    };
    let is_label = !key.is_empty() && (fork.peek(Token![=>]) || fork.peek(Token![=]));
    if is_label && !declaration::is_option(&key) { labels(&[key]) } else { Ok(()) }
}

/// A label's declaration.
fn label(key: &str) -> String {
    let is_word = |word: &&str| word.starts_with(|char: char| char.is_ascii_alphabetic());
    let words: Vec<&str> = key.split(|char: char| !char.is_ascii_alphanumeric()).filter(is_word).collect();
    if words.is_empty() {
        return "route: Route".to_owned();
    }
    let capital = |word: &&str| word[..1].to_ascii_uppercase() + &word[1..];
    format!("{}: {}", words.join("_").to_ascii_lowercase(), words.iter().map(capital).collect::<String>())
}
