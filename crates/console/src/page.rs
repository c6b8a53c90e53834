//! The files of the page, with the headers that keep guest text from being markup.

mod table;

use std::sync::OnceLock;

use crate::problem::Problem;
use crate::request::{Answer, Body, Request};

/// The sources that the page may load from: only its own files, and no script or style within the
/// document.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug)]
struct File {
    /// The path at which it is served.
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

/// Answers a request for a file of the page.
pub(crate) fn answer(request: &Request<'_>) -> Answer {
    let Some(index) = table::FILES.iter().position(|file| file.path == request.path) else {
        return Problem::not_found("there is no such file; the page is at /").answer();
    };
    let (file, tag) = (&table::FILES[index], tags()[index].clone());
    let is_known = request.if_none_match.is_some_and(|known| matches(known, &tag));
    let (status, body) = if is_known { (304, Body::Static(b"")) } else { (200, Body::Static(file.bytes)) };
    let headers = vec![
        ("content-type", file.content_type.to_owned()),
        // A new version of the host may have new files at the same paths.
        ("cache-control", "no-cache".to_owned()),
        ("etag", tag),
        ("x-content-type-options", "nosniff".to_owned()),
        ("content-security-policy", CONTENT_SECURITY_POLICY.to_owned()),
        ("referrer-policy", "no-referrer".to_owned()),
        ("cross-origin-opener-policy", "same-origin".to_owned()),
        ("cross-origin-resource-policy", "same-origin".to_owned()),
    ];
    Answer { status, headers, body }
}

/// Returns `true` if `If-None-Match` has a tag; weak and strong ones are equal here.
///
/// Source: RFC 9110, section 13.1.2.
fn matches(header: &str, tag: &str) -> bool {
    header.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == &tag[2..])
}

/// Returns the entity tag of each file. They are weak: a server may compress the files.
fn tags() -> &'static [String] {
    static TAGS: OnceLock<Vec<String>> = OnceLock::new();
    TAGS.get_or_init(|| table::FILES.iter().map(|file| format!("W/\"{:016x}\"", fnv(file.bytes))).collect())
}

/// FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use std::path::Path;

    use super::*;

    fn get(path: &str, if_none_match: Option<&str>) -> Answer {
        answer(&Request { method: "GET", path, if_none_match, ..Request::default() })
    }

    fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
        answer.headers.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    #[test]
    fn files_have_tags_and_policy() {
        for file in table::FILES {
            let found = get(file.path, None);
            assert_eq!(found.status, 200, "{}", file.path);
            assert!(matches!(&found.body, Body::Static(bytes) if *bytes == file.bytes));
            let policy = header(&found, "content-security-policy");
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
            let tag = header(&found, "etag").to_owned();
            assert_eq!(get(file.path, Some(&format!("\"other\", {tag}"))).status, 304);
            assert_eq!(get(file.path, Some(tag.trim_start_matches("W/"))).status, 304);
            assert_eq!(get(file.path, Some("\"other\"")).status, 200);
        }
        assert_eq!(get("/page/../Cargo.toml", None).status, 404);
    }

    /// Adds the files of a folder that a page loads.
    fn find(folder: &Path, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                find(&path, out);
            } else if path.extension().is_some_and(|ending| ["js", "css", "svg"].iter().any(|known| ending == *known)) {
                out.push(path.to_str().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn table_has_all_files() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        let mut files = Vec::new();
        find(Path::new(folder), &mut files);
        for file in &files {
            let path = file.replace(folder, "/page");
            assert!(table::FILES.iter().any(|file| file.path == path), "{path} is missing in page/table.rs");
        }
        assert_eq!(files.len() + 1, table::FILES.len());
    }

    #[test]
    fn paths_occur_once() {
        let mut paths: Vec<&str> = table::FILES.iter().map(|file| file.path).collect();
        paths.sort_unstable();
        assert!(paths.windows(2).all(|pair| pair[0] != pair[1]), "{paths:?}");
        assert!(paths.contains(&"/"));
    }
}
