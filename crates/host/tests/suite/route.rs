//! Routes of requests: in regions that are read, pushed and copied, and in hostile ones.

use std::time::Duration;

use wasmetry_abi::route::{ENTRY_HASH, Route, SLOT_WORDS, SLOTS, SLOTS_SIZE, request_key};
use wasmetry_host::{BatchReceiver, Component, Declarations, Identity, Registry, RequestKey, limits};

use crate::batch::push;
use crate::image::{Image, WIDTHS, dropped};

const USER: Route<'static> = Route::new("/users/{id}");
const HOME: Route<'static> = Route::new("/");
static USER_RECORD: [u8; USER.record_len()] = USER.encode();
static HOME_RECORD: [u8; HOME.record_len()] = HOME.encode();

/// The span of the request that is read.
const SPAN: u64 = 0xabcd_0000_0000_0007;
const REQUEST: RequestKey = RequestKey::Span(SPAN);

fn user() -> u64 {
    wasmetry_abi::hash(&USER_RECORD)
}

fn home() -> u64 {
    wasmetry_abi::hash(&HOME_RECORD)
}

fn shop() -> (Registry, Component) {
    let registry = Registry::new();
    let declarations = Declarations::from_sections([&USER_RECORD[..], &HOME_RECORD, &USER_RECORD]);
    assert_eq!(declarations.rejected(), []);
    assert_eq!(declarations.routes().len(), 2);
    let component = registry.component(Identity::new("shop"), declarations);
    (registry, component)
}

/// An image whose only entry has the slots of routes, and their address.
fn image(width: u8) -> (Image, u64) {
    let mut image = Image::new(width);
    let address = image.base + image.bytes.len() as u64;
    image.bytes.resize(image.bytes.len() + image.offsets.entry_size + SLOTS_SIZE, 0);
    image.put(address + image.offsets.entry_hash as u64, &ENTRY_HASH.to_le_bytes());
    image.put_pointer(image.header + image.offsets.header_metrics as u64, address);
    let slots = address + image.offsets.entry_size as u64;
    (image, slots)
}

/// Sets a slot: its stamp, the request's key, the route's hash.
fn set(image: &mut Image, slots: u64, slot: usize, words: [u64; SLOT_WORDS]) {
    for (word, value) in words.into_iter().enumerate() {
        image.put(slots + 8 * (slot * SLOT_WORDS + word) as u64, &value.to_le_bytes());
    }
}

#[test]
fn request_has_its_own_route() {
    for width in WIDTHS {
        let (registry, component) = shop();
        let (mut image, slots) = image(width);
        let mut instance = component.instance();
        assert_eq!(instance.read_route(image.view(), REQUEST), None);
        // Another request of the instance has set its route later.
        set(&mut image, slots, 0, [1, request_key(SPAN), user()]);
        set(&mut image, slots, 1, [2, request_key(SPAN + 1), home()]);
        assert_eq!(instance.read_route(image.view(), REQUEST).as_deref(), Some("/users/{id}"));
        // A route that was read is not read again.
        assert_eq!(instance.read_route(image.view(), REQUEST), None);
        set(&mut image, slots, 0, [3, request_key(SPAN), home()]);
        assert_eq!(instance.read_route(image.view(), REQUEST).as_deref(), Some("/"));
        // It is no metric that the binary forgot to declare.
        image.read(&mut instance, 0);
        assert_eq!(dropped(&registry), [""; 0]);
    }
}

/// A guest without a handler knows no request; the host that has no request knows no key.
#[test]
fn route_without_request_counts() {
    let (_, component) = shop();
    let (mut image, slots) = image(4);
    set(&mut image, slots, 3, [1, 0, user()]);
    for request in [REQUEST, RequestKey::Span(0), RequestKey::Any] {
        let route = component.instance().read_route(image.view(), request);
        assert_eq!(route.as_deref(), Some("/users/{id}"), "{request:?}");
    }
    // The request's own route is better, though it was set before.
    set(&mut image, slots, 4, [1, request_key(SPAN), home()]);
    set(&mut image, slots, 3, [2, 0, user()]);
    assert_eq!(component.instance().read_route(image.view(), REQUEST).as_deref(), Some("/"));
    assert_eq!(component.instance().read_route(image.view(), RequestKey::Any).as_deref(), Some("/users/{id}"));
    assert_eq!(component.instance().read_route(image.view(), RequestKey::Span(0)).as_deref(), Some("/users/{id}"));
}

#[test]
fn pushed_and_copied_routes_arrive() {
    for width in WIDTHS {
        let (_, component) = shop();
        let (mut image, slots) = image(width);
        set(&mut image, slots, SLOTS - 1, [1, request_key(SPAN), user()]);
        let mut receiver = BatchReceiver::new(component.clone());
        assert_eq!(receiver.open(), Some(1));
        let batches = push(&image, 1, 0, 16);
        let (last, first) = batches.split_last().unwrap();
        for batch in first {
            receiver.receive(batch, Duration::ZERO.into(), None);
            assert_eq!(receiver.read_route(REQUEST), None, "the push is not complete");
        }
        receiver.receive(last, Duration::ZERO.into(), None);
        assert_eq!(receiver.read_route(REQUEST).as_deref(), Some("/users/{id}"));

        let mut instance = component.instance();
        let copy = instance.copy(image.header, |address, into| {
            let start = (address - image.base) as usize;
            let bytes = image.bytes.get(start..start + into.len());
            bytes.map(|bytes| into.copy_from_slice(bytes)).is_some()
        });
        assert_eq!(instance.read_route(copy.view(), REQUEST).as_deref(), Some("/users/{id}"));
    }
}

#[test]
fn undeclared_route_is_other() {
    let (registry, component) = shop();
    let (mut image, slots) = image(4);
    let mut instance = component.instance();
    for stamp in 1..=3 {
        set(&mut image, slots, 0, [stamp, 0, 7]);
        assert_eq!(instance.read_route(image.view(), REQUEST).as_deref(), Some("other"));
    }
    assert_eq!(dropped(&registry), ["undeclared_route 3"]);
}

#[test]
fn hostile_slots_change_nothing() {
    let (registry, component) = shop();
    // The entry leaves the window.
    let (mut image, slots) = image(4);
    set(&mut image, slots, 0, [1, 0, user()]);
    let mut short = image.clone();
    short.bytes.truncate(short.bytes.len() - 8);
    assert_eq!(component.instance().read_route(short.view(), REQUEST), None);
    // The list is circular, and has no such entry.
    let mut circular = image.clone();
    let entry = slots - circular.offsets.entry_size as u64;
    circular.put(entry + circular.offsets.entry_hash as u64, &1u64.to_le_bytes());
    circular.put_pointer(entry + circular.offsets.entry_next as u64, entry);
    assert_eq!(component.instance().read_route(circular.view(), REQUEST), None);
    // The greatest stamp hides only the guest's own later routes.
    set(&mut image, slots, 0, [u64::MAX, 0, user()]);
    let mut instance = component.instance();
    assert_eq!(instance.read_route(image.view(), REQUEST).as_deref(), Some("/users/{id}"));
    set(&mut image, slots, 0, [1, 0, home()]);
    assert_eq!(instance.read_route(image.view(), REQUEST), None);
    assert_eq!(dropped(&registry), [""; 0]);
}

#[test]
fn declared_routes_are_limited() {
    let section: Vec<u8> = (0..limits::ROUTES + 2)
        .flat_map(|number| {
            let template = format!("/{number:03}");
            let mut record = vec![1, 66, 0, 0];
            record.extend((2 + template.len() as u32).to_le_bytes());
            record.extend((template.len() as u16).to_le_bytes());
            record.extend(template.into_bytes());
            record
        })
        .collect();
    let declarations = Declarations::from_sections([&section[..]]);
    assert_eq!(declarations.routes().len(), limits::ROUTES);
    assert_eq!(declarations.rejected().len(), 2);
    assert!(declarations.rejected()[0].reason.contains("more than 256 routes"));

    let absurd = [1, 66, 0, 0, 3, 0, 0, 0, 1, 0, b'\n'];
    let declarations = Declarations::from_sections([&absurd[..]]);
    assert_eq!((declarations.routes().len(), declarations.rejected().len()), (0, 1));
}
