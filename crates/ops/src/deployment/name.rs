//! Names that Kubernetes and container registries accept, checked and made of any text.
//!
//! Sources: Kubernetes' "Object Names and IDs" and "Labels and Selectors"; the grammar of
//! references of the distribution project.

/// The longest name of an object, in bytes. A label has 63, and Kubernetes appends up to 13 to the
/// names of pods.
const MAX_DNS_LABEL: usize = 50;

/// The longest value, and the longest name of a key, of a label, in bytes.
const MAX_LABEL: usize = 63;

/// The longest domain in a label's key, in bytes.
const MAX_DOMAIN: usize = 253;

/// Returns `true` if a text is the name of any object, services included (RFC 1035), and short
/// enough.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= MAX_DNS_LABEL
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Returns `true` if a text is the value of a label, and not empty.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.len() <= MAX_LABEL
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(is_label_char)
}

fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// Returns `true` if a text is the key of a label.
pub(crate) fn is_label_key(text: &str) -> bool {
    let is_part = |part: &str| {
        let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(is_end) && part.ends_with(is_end) && part.chars().all(|c| is_end(c) || c == '-')
    };
    match text.split_once('/') {
        Some((domain, name)) => domain.len() <= MAX_DOMAIN && domain.split('.').all(is_part) && is_label_value(name),
        None => is_label_value(text),
    }
}

/// Returns `true` if a text names an image: a path with an optional registry, tag and digest.
pub(crate) fn is_image(text: &str) -> bool {
    /// The longest name without its tag, in bytes.
    const MAX_NAME: usize = 255;
    const MAX_TAG: usize = 128;
    let (text, digest) = text.split_once('@').map_or((text, None), |(text, digest)| (text, Some(digest)));
    let is_digest = |digest: &str| {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
    };
    // A colon before the last slash is that of a port.
    let last = text.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match text[last..].find(':') {
        Some(colon) => (&text[..last + colon], Some(&text[last + colon + 1..])),
        None => (text, None),
    };
    let is_tag = |tag: &str| {
        tag.len() <= MAX_TAG
            && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && tag.chars().all(is_label_char)
    };
    name.len() <= MAX_NAME && is_image_name(name) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

/// Returns `true` for a path with an optional registry before it.
fn is_image_name(name: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separated = |part: &str| {
        let separators = part.split(is_end).filter(|between| !between.is_empty());
        let is_separator = |text: &str| matches!(text, "." | "_" | "__") || text.chars().all(|c| c == '-');
        part.starts_with(is_end) && part.ends_with(is_end) && separators.into_iter().all(is_separator)
    };
    let is_registry = |part: &str| {
        let (host, port) = part.split_once(':').map_or((part, None), |(host, port)| (host, Some(port)));
        let is_host_part = |part: &str| {
            let is_end = |c: char| c.is_ascii_alphanumeric();
            part.starts_with(is_end) && part.ends_with(is_end) && part.chars().all(|c| is_end(c) || c == '-')
        };
        host.split('.').all(is_host_part)
            && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()))
    };
    match name.split_once('/') {
        // Only a dot, a port or this name makes the first part a registry.
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
            is_registry(first) && path.split('/').all(is_separated)
        }
        _ => name.split('/').all(is_separated),
    }
}

/// Returns a name of an object that is made of a text.
///
/// If letters were lost, it ends in a fingerprint of the text, so that the names of two services
/// differ.
pub(crate) fn dns_label(text: &str) -> String {
    let is_lost = text.chars().any(|c| c.is_alphanumeric() && !c.is_ascii());
    let mut label = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            label.push(c.to_ascii_lowercase());
        } else if !label.ends_with('-') {
            label.push('-');
        }
    }
    let mut label = label.trim_matches('-').to_owned();
    if !label.starts_with(|c: char| c.is_ascii_lowercase()) {
        label.insert_str(0, "wasm-");
    }
    finish(label, MAX_DNS_LABEL, is_lost, text)
}

/// Returns the value of a label that is made of a text; it is a tag of an image too.
pub(crate) fn label_value(text: &str) -> String {
    let is_lost = text.chars().any(|c| c.is_alphanumeric() && !c.is_ascii());
    let label: String = text.chars().map(|c| if is_label_char(c) { c } else { '-' }).collect();
    let label = label.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    finish(if label.is_empty() { "none".to_owned() } else { label }, MAX_LABEL, is_lost, text)
}

/// Shortens a label to `longest` bytes; one that is shortened or has lost letters gets a
/// fingerprint.
fn finish(mut label: String, longest: usize, is_lost: bool, text: &str) -> String {
    if is_lost || label.len() > longest {
        let fingerprint = format!("{:016x}", fingerprint([text]));
        label.truncate(longest - 9);
        let kept = label.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len();
        label.truncate(kept);
        label.push('-');
        label.push_str(&fingerprint[..8]);
    } else if label.ends_with('-') {
        // Only of a text without any letter or digit.
        label.pop();
    }
    label
}

/// Returns a fingerprint of texts: FNV-1a, which is the same in every build.
pub(crate) fn fingerprint<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut hash = BASIS;
    for text in texts {
        // A byte that is in no text separates them.
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_valid() {
        for (text, expected) in [
            ("store-front", "store-front"),
            ("Store Front_2", "store-front-2"),
            ("7zip", "wasm-7zip"),
            ("--", "wasm"),
            ("", "wasm"),
        ] {
            assert_eq!(dns_label(text), expected);
            assert!(is_dns_label(expected));
        }
        for (text, expected) in [("1.4.0", "1.4.0"), ("1.4.0+a/b", "1.4.0-a-b"), ("-v1-", "v1"), ("", "none")] {
            assert_eq!(label_value(text), expected);
            assert!(is_label_value(expected));
        }
        // What is lost is in the fingerprint.
        let [a, b] = ["日本", "日木"].map(dns_label);
        assert!(a != b && is_dns_label(&a) && is_dns_label(&b), "{a} {b}");
        let long = "x".repeat(200);
        assert_eq!((dns_label(&long).len(), label_value(&long).len()), (50, 63));
        assert_ne!(dns_label(&long), dns_label(&format!("{long}y")));
    }

    #[test]
    fn images_are_checked() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        for valid in ["a", "a:1", "a/b_c:1.4.0", "registry.example.com:5000/a/b--c:x_Y", "localhost/a", &digest] {
            assert!(is_image(valid), "{valid}");
        }
        for wrong in
            ["", "A", "a:", "a b", "a:-1", "/a", "a/", "a//b", "a@sha256:0", "reg.io:x/a", "a..b", "a:1:2", "a___b"]
        {
            assert!(!is_image(wrong), "{wrong}");
        }
    }

    #[test]
    fn label_keys_are_checked() {
        for valid in ["release", "app.kubernetes.io/name", "A_b"] {
            assert!(is_label_key(valid), "{valid}");
        }
        for wrong in ["", "/a", "a/", "A.io/a", "a/b/c", "-a"] {
            assert!(!is_label_key(wrong), "{wrong}");
        }
    }

    #[test]
    fn fingerprints_are_fnv() {
        // Source: the test vectors of draft-eastlake-fnv; the separator is one byte more.
        assert_eq!(fingerprint([]), 0xcbf2_9ce4_8422_2325);
        assert_ne!(fingerprint(["ab", "c"]), fingerprint(["a", "bc"]));
    }
}
