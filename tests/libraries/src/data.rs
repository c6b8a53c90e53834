//! Libraries that parse, match and solve. All of them use `log`.

use html5ever::tendril::TendrilSink as _;

pub(crate) fn find_words() {
    let words = aho_corasick::AhoCorasick::new(["apple", "maple", "snapple"]).expect("the patterns are valid");
    assert_eq!(words.find_iter("nobody likes maple in their apple flavored snapple").count(), 3);
}

pub(crate) fn match_paths() {
    let mut globs = globset::GlobSetBuilder::new();
    for glob in ["*.rs", "src/**/foo.rs", "[ab]*.{c,h}"] {
        globs.add(globset::Glob::new(glob).expect("the glob is valid"));
    }
    assert_eq!(globs.build().expect("the globs fit").matches("src/bar/foo.rs"), [0, 1]);
}

pub(crate) fn render_template() {
    let mut registry = handlebars::Handlebars::new();
    registry
        .register_template_string("cart", "{{name}} has {{#if items}}{{items}}{{else}}no{{/if}} items")
        .expect("it is valid");
    let data = std::collections::BTreeMap::from([("name", "Ada"), ("items", "3")]);
    assert_eq!(registry.render("cart", &data).expect("it renders"), "Ada has 3 items");
}

pub(crate) fn parse_html() {
    let sink = markup5ever_rcdom::RcDom::default();
    let dom = html5ever::parse_document(sink, html5ever::ParseOpts::default()).one("<p>one &amp; two<p>three");
    assert_eq!(dom.document.children.borrow().len(), 1);
}

pub(crate) fn resolve_versions() {
    use pubgrub::{OfflineDependencyProvider, Ranges, resolve};

    let mut provider = OfflineDependencyProvider::<&str, Ranges<u32>>::new();
    provider.add_dependencies("root", 1u32, [("menu", Ranges::full()), ("icons", Ranges::full())]);
    provider.add_dependencies("menu", 1u32, [("dropdown", Ranges::full())]);
    provider.add_dependencies("dropdown", 1u32, [("icons", Ranges::full())]);
    provider.add_dependencies("icons", 1u32, []);
    assert_eq!(resolve(&provider, "root", 1u32).expect("there is a solution").len(), 4);
}

pub(crate) fn match_pattern() {
    let pattern = regex_automata::meta::Regex::new(r"([a-z]+)@([a-z]+)\.com").expect("the pattern is valid");
    assert!(pattern.is_match("ada@example.com"));
}

pub(crate) fn parse_sql() {
    let dialect = sqlparser::dialect::GenericDialect {};
    let statements = sqlparser::parser::Parser::parse_sql(&dialect, "SELECT a, b FROM carts WHERE a > 1 + 2");
    assert_eq!(statements.expect("it is valid").len(), 1);
}
