//! The names of generated alerts: their beginning, which names a component.
//!
//! `wasmetry ops` makes these names, and the console finds the component of one of them, so both
//! must write a component's name in the same way.

/// The beginning of the alerts of a component whose name has no letter and no digit.
const UNNAMED: &str = "Component";

/// Returns the words of a name in camel case: its letters and digits, of any script, each word with
/// a capital.
///
/// ```
/// use wasmetry_host::alert_name::camel_case;
///
/// assert_eq!(camel_case("store-front_2"), "StoreFront2");
/// assert_eq!(camel_case("größe"), "Größe");
/// ```
pub fn camel_case(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let capital = |word: &str| {
        let mut rest = word.chars();
        rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect::<String>()
    };
    words.map(capital).collect()
}

/// Returns the beginning of the names of a component's alerts. `tenant` is given where components
/// of several tenants have this name.
pub fn prefix(component: &str, tenant: Option<&str>) -> String {
    let name = camel_case(component) + &tenant.map(camel_case).unwrap_or_default();
    if name.is_empty() { UNNAMED.to_owned() } else { name }
}
