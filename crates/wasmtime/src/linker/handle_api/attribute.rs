//! The interface `attributes`.

use wasmetry_host::handle_api::{Attributes, Value};
use wasmetry_host::limits;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, WasmList, WasmStr};

/// The WIT record `attribute`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct WitAttribute {
    key: WasmStr,
    value: WitValue,
}

/// The WIT variant `value`.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum WitValue {
    #[component(name = "string")]
    Text(WasmStr),
    #[component(name = "bool")]
    Bool(bool),
    #[component(name = "int")]
    Int(i64),
    #[component(name = "double")]
    Double(f64),
}

/// Reads the attributes of a call, up to [`limits::ATTRIBUTES`]. The others are counted as dropped.
pub(super) fn attributes<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    list: &WasmList<WitAttribute>,
) -> wasmtime::Result<Attributes> {
    let found = list.iter(&mut *store)?.take(limits::ATTRIBUTES).collect::<wasmtime::Result<Vec<_>>>()?;
    let mut attributes = Attributes::default();
    for attribute in &found {
        push(store, &mut attributes, attribute)?;
    }
    attributes.drop_more(list.len() - found.len());
    Ok(attributes)
}

/// Reads one attribute.
pub(super) fn attribute<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    attribute: &WitAttribute,
) -> wasmtime::Result<Attributes> {
    let mut attributes = Attributes::default();
    push(store, &mut attributes, attribute)?;
    Ok(attributes)
}

/// Reads one attribute, and adds it to `attributes`.
fn push<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    attributes: &mut Attributes,
    attribute: &WitAttribute,
) -> wasmtime::Result<()> {
    let WitAttribute { key, value } = attribute;
    let text;
    let value = match value {
        WitValue::Text(value) => {
            text = value.to_str(&*store)?;
            Value::Text(&text)
        }
        WitValue::Bool(value) => Value::Bool(*value),
        WitValue::Int(value) => Value::Int(*value),
        WitValue::Double(value) => Value::Double(*value),
    };
    attributes.push(&key.to_str(&*store)?, value);
    Ok(())
}
