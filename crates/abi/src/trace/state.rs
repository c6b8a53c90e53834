//! The header `tracestate`: vendors' data that is passed on with a trace.
//!
//! Source: <https://www.w3.org/TR/trace-context-2/>, section 3.3.

use core::fmt;

/// The maximum length of a [`TraceState`] in bytes. Section 3.3.2.1 requires at least 512.
pub const TRACE_STATE_LEN: usize = 512;

/// The maximum number of members of a list. A longer list is invalid.
const MEMBERS: usize = 32;

/// The maximum length of a key in bytes, and of a value.
const PART_LEN: usize = 256;

/// The length in bytes above which a member is removed first from a list that is too long.
const LONG: usize = 128;

/// The value of a `tracestate` header: a list of members `key=value`, the latest first.
///
/// It is always valid: keys are unique, and it has at most 32 members and [`TRACE_STATE_LEN`]
/// bytes.
///
/// ```
/// use wasmetry_abi::trace::TraceState;
///
/// let mut state = TraceState::parse([&b"congo=t61rcWkgMzE, rojo=1"[..], b"", b"old=2"]);
/// assert_eq!(state.as_str(), "congo=t61rcWkgMzE,rojo=1,old=2");
/// // A changed member moves to the front.
/// assert!(state.set("rojo", "3"));
/// assert_eq!(state.as_str(), "rojo=3,congo=t61rcWkgMzE,old=2");
/// assert_eq!(TraceState::parse([&b"Congo=1"[..]]).as_str(), "");
/// ```
#[derive(Clone)]
pub struct TraceState {
    text: [u8; TRACE_STATE_LEN],
    len: usize,
}

impl TraceState {
    /// The empty list.
    pub const EMPTY: Self = Self { text: [0; TRACE_STATE_LEN], len: 0 };

    /// Parses the values of all `tracestate` headers of a request, in their order. Returns the
    /// empty list if one of them is invalid.
    ///
    /// Of members with the same key the first stays, which is the latest. A list longer than
    /// [`TRACE_STATE_LEN`] loses members: first those of more than 128 bytes, then the others, both
    /// from the end.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut list = List::new();
        let mut count = 0;
        for header in headers {
            for text in header.split(|byte| *byte == b',').map(trim) {
                if text.is_empty() {
                    continue;
                }
                count += 1;
                match Member::parse(text) {
                    Some(member) if count <= MEMBERS => list.push(member),
                    _ => return Self::EMPTY,
                }
            }
        }
        list.into_state()
    }

    /// The header's value; it is ASCII.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// Returns `true` if there are no members. The header is then not sent.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the value of the member with this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let member = self.members().find(|member| member.key == key.as_bytes())?;
        core::str::from_utf8(member.value).ok()
    }

    /// Puts a member at the front and removes an earlier one with its key. The last members are
    /// removed if the list is then too long.
    ///
    /// Returns `true` if the list has the member. If the key or the value is invalid, or the member
    /// does not fit, the list is unchanged and the result is `false`.
    pub fn set(&mut self, key: &str, value: &str) -> bool {
        let member = Member { key: key.as_bytes(), value: value.as_bytes() };
        if !member.is_valid() {
            return false;
        }
        let mut list = List::new();
        list.push(member);
        self.members().for_each(|member| list.push(member));
        let state = list.into_state();
        let is_there = state.get(key) == Some(value);
        if is_there {
            *self = state;
        }
        is_there
    }

    /// Removes the member with this key.
    pub fn remove(&mut self, key: &str) {
        let mut list = List::new();
        self.members().filter(|member| member.key != key.as_bytes()).for_each(|member| list.push(member));
        let state = list.into_state();
        *self = state;
    }

    fn bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }

    fn members(&self) -> impl Iterator<Item = Member<'_>> {
        self.bytes().split(|byte| *byte == b',').filter_map(Member::parse)
    }
}

impl Default for TraceState {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialEq for TraceState {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for TraceState {}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A member of a list.
#[derive(Clone, Copy)]
struct Member<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> Member<'a> {
    /// Parses `key=value`, without white space around it. Returns `None` if it is invalid.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let equals = text.iter().position(|byte| *byte == b'=')?;
        let (key, value) = text.split_at_checked(equals)?;
        let member = Self { key, value: value.get(1..)? };
        member.is_valid().then_some(member)
    }

    /// Returns `true` if key and value match the grammar of sections 3.3.1.3.1 and 3.3.1.3.2. A
    /// value does not end in a space, which would be white space around the member.
    fn is_valid(self) -> bool {
        let is_first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_key = |byte: &u8| is_first(byte) || b"_-*/@".contains(byte);
        let is_value = |byte: &u8| matches!(byte, b' '..=b'~') && !b",=".contains(byte);
        self.key.first().is_some_and(is_first)
            && self.key.len() <= PART_LEN
            && self.key.iter().all(is_key)
            && self.value.last().is_some_and(|last| *last != b' ')
            && self.value.len() <= PART_LEN
            && self.value.iter().all(is_value)
    }

    const fn len(self) -> usize {
        self.key.len() + 1 + self.value.len()
    }
}

/// A list under construction.
struct List<'a> {
    members: [Member<'a>; MEMBERS],
    len: usize,
}

impl<'a> List<'a> {
    const fn new() -> Self {
        Self { members: [Member { key: &[], value: &[] }; MEMBERS], len: 0 }
    }

    /// Adds a member at the end, unless the list is full or has one with its key.
    fn push(&mut self, member: Member<'a>) {
        if self.members().iter().any(|known| known.key == member.key) {
            return;
        }
        if let Some(place) = self.members.get_mut(self.len) {
            *place = member;
            self.len += 1;
        }
    }

    fn members(&self) -> &[Member<'a>] {
        self.members.get(..self.len).unwrap_or_default()
    }

    fn remove(&mut self, index: usize) {
        if let Some(behind) = self.members.get_mut(index..self.len)
            && !behind.is_empty()
        {
            behind.rotate_left(1);
            self.len -= 1;
        }
    }

    /// The length in bytes of the encoded list.
    fn bytes(&self) -> usize {
        let members: usize = self.members().iter().map(|member| member.len()).sum();
        members + self.len.saturating_sub(1)
    }

    fn into_state(mut self) -> TraceState {
        while self.bytes() > TRACE_STATE_LEN {
            let long = self.members().iter().rposition(|member| member.len() > LONG);
            self.remove(long.unwrap_or(self.len - 1));
        }
        let mut state = TraceState::EMPTY;
        let mut put = |bytes: &[u8]| {
            if let Some(place) = state.text.get_mut(state.len..state.len + bytes.len()) {
                place.copy_from_slice(bytes);
                state.len += bytes.len();
            }
        };
        for (i, member) in self.members().iter().enumerate() {
            if i > 0 {
                put(b",");
            }
            put(member.key);
            put(b"=");
            put(member.value);
        }
        state
    }
}

/// Removes the optional white space around a text: spaces and tabs.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;

    fn state(headers: &[&str]) -> String {
        TraceState::parse(headers.iter().map(|header| header.as_bytes())).to_string()
    }

    fn numbered(count: usize, value: &str) -> String {
        (0..count).map(|n| format!("k{n}={value}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn headers_are_joined_in_order() {
        assert_eq!(state(&[]), "");
        assert_eq!(state(&["", " ", "\t,, "]), "");
        assert_eq!(state(&["foo=1", "", " bar=2 ,\tbaz=3", ",qux=4,"]), "foo=1,bar=2,baz=3,qux=4");
        // Spaces in front of a value belong to it, spaces behind it do not.
        assert_eq!(state(&["foo=  1 2  , bar=3"]), "foo=  1 2,bar=3");
    }

    #[test]
    fn keys_match_the_grammar() {
        let key = "0abcdefghijklmnopqrstuvwxyz0123456789_-*/@";
        for valid in [key, "a", "7", "tenant@system", "a@", "a@@b", "a@0@c", &"k".repeat(256)] {
            let member = format!("{valid}=1");
            assert_eq!(state(&[&member]), member);
        }
        for invalid in
            ["", " ", "@a", "_a", "-a", "*a", "/a", "A", "aB", "a.b", "a b", "a\u{e9}", "a ", &"k".repeat(257)]
        {
            assert_eq!(state(&["ok=1", &format!("{invalid}=1")]), "", "{invalid:?}");
        }
        assert_eq!(state(&["ok=1", "foo"]), "");
    }

    #[test]
    fn values_match_the_grammar() {
        let all: String = (' '..='~').filter(|c| !",=".contains(*c)).collect();
        for valid in [&all[..], "1", " 1", &"v".repeat(256)] {
            let member = format!("foo={valid}");
            assert_eq!(state(&[&member]), member);
        }
        for invalid in ["", " ", "1=2", "=", "\u{7f}", "\u{e9}", "a\tb", "a\u{1}", &"v".repeat(257)] {
            assert_eq!(state(&["ok=1", &format!("foo={invalid}")]), "", "{invalid:?}");
        }
    }

    #[test]
    fn first_member_of_a_key_stays() {
        assert_eq!(state(&["foo=1,bar=2,foo=3"]), "foo=1,bar=2");
        assert_eq!(state(&["foo=1", "foo=1", "bar=2"]), "foo=1,bar=2");
    }

    #[test]
    fn list_with_33_members_is_invalid() {
        assert_eq!(state(&[&numbered(32, "1")]), numbered(32, "1"));
        assert_eq!(state(&[&numbered(16, "1"), ",,,", &numbered(17, "1").replace('k', "l")]), "");
        // Also if one of them is a duplicate.
        assert_eq!(state(&[&numbered(32, "1"), "k0=1"]), "");
    }

    #[test]
    fn long_members_are_removed_first() {
        let long = "v".repeat(126);
        // Members of 129 bytes are long.
        assert_eq!(state(&[&numbered(4, &long)]), numbered(3, &long));
        let short = format!("a=1,{},b=2", numbered(4, &long));
        assert_eq!(state(&[&short]), format!("a=1,{},b=2", numbered(3, &long)));
        let exact = format!("{},{}", numbered(3, &long), format_args!("last={}", "v".repeat(512 - 3 * 130 - 5)));
        assert_eq!(state(&[&exact]), exact);
        let many = numbered(32, &"v".repeat(20));
        let kept = state(&[&many]);
        assert!(many.starts_with(&kept) && kept.len() <= 512 && kept.len() > 512 - 25, "{}", kept.len());
    }

    #[test]
    fn set_member_moves_to_front() {
        let mut state = TraceState::parse([&b"a=1,b=2,c=3"[..]]);
        assert!(state.set("c", "4"));
        assert_eq!(state.as_str(), "c=4,a=1,b=2");
        assert!(state.set("new@x", "5"));
        assert_eq!(state.as_str(), "new@x=5,c=4,a=1,b=2");
        assert_eq!((state.get("a"), state.get("z")), (Some("1"), None));
        state.remove("c");
        state.remove("z");
        assert_eq!(state.as_str(), "new@x=5,a=1,b=2");
        for (key, value) in [("A", "1"), ("a", ""), ("a", "1 "), ("a", "x,y=z"), ("", "1"), ("a,b", "1")] {
            assert!(!state.set(key, value), "{key}={value}");
            assert_eq!(state.as_str(), "new@x=5,a=1,b=2");
        }
        let mut full = TraceState::parse([numbered(32, "1").as_bytes()]);
        assert!(full.set("new", "1"));
        assert_eq!(full.to_string(), format!("new=1,{}", numbered(31, "1")));
        assert!(!full.set(&"k".repeat(256), &"v".repeat(256)), "it is longer than the list may be");
        assert_eq!(full.to_string(), format!("new=1,{}", numbered(31, "1")));
    }
}
