//! The configuration of an adapted app's collector, encoded as a component that exports the
//! interface `config` of `crates/adapter/wit`.
//!
//! Its functions have no parameters, and return addresses in a memory of constants, laid out as the
//! canonical ABI requires. So the component consists of data only.

use std::time::Duration;

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, CodeSection, Component, ComponentAliasSection,
    ComponentDefinedTypeEncoder, ComponentExportKind, ComponentExportSection, ComponentInstanceSection,
    ComponentTypeSection, ComponentValType, ConstExpr, DataSection, ExportKind, ExportSection, Function,
    FunctionSection, InstanceSection, MemorySection, MemoryType, Module, ModuleArg, ModuleSection, PrimitiveValType,
    TypeSection, ValType,
};

const PAGE: usize = 64 << 10;

/// The results of the interface's functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) service: String,
    pub(super) version: String,
    pub(super) tenant: Option<String>,
    pub(super) declarations: Vec<Vec<u8>>,
    pub(super) lines: bool,
    pub(super) metrics_path: Option<String>,
    pub(super) otlp: Option<Otlp>,
    pub(super) otlp_timeout: Duration,
}

/// The destination of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Otlp {
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
}

/// The name of the interface.
pub(super) const INTERFACE: &str = "wasmetry:adapter/config";

impl Config {
    /// Encodes the component.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut memory = Memory::default();
        let header = |memory: &mut Memory, (key, value): &(String, String)| {
            let [key, value] = [memory.slice(key.as_bytes()), memory.slice(value.as_bytes())];
            [key, value].concat()
        };
        let otlp = self.otlp.as_ref().map(|otlp| {
            let url = memory.slice(otlp.url.as_bytes());
            let headers: Vec<_> = otlp.headers.iter().flat_map(|pair| header(&mut memory, pair)).collect();
            [url, [memory.words(&headers), otlp.headers.len() as u32]].concat()
        });
        let declarations: Vec<_> = self.declarations.iter().flat_map(|section| memory.slice(section)).collect();
        let declarations = [memory.words(&declarations), self.declarations.len() as u32];
        let functions = [
            ("service", Type::Text, memory.text(&self.service)),
            ("version", Type::Text, memory.text(&self.version)),
            ("tenant", Type::OptionalText, memory.optional_text(self.tenant.as_deref())),
            ("declarations", Type::ListOfBytes, memory.words(&declarations)),
            ("lines", Type::Flag, self.lines.into()),
            ("metrics-path", Type::OptionalText, memory.optional_text(self.metrics_path.as_deref())),
            ("otlp", Type::Otlp, memory.optional(otlp.as_deref(), 4)),
            ("otlp-timeout", Type::Number, u32::try_from(self.otlp_timeout.as_millis()).unwrap_or(u32::MAX)),
        ];
        component(&module(&memory.bytes, &functions.map(|(name, _, result)| (name, result))), &functions)
    }
}

/// The bytes of the memory. Addresses are below 4 GiB, because they come from a smaller file.
#[derive(Default)]
struct Memory {
    bytes: Vec<u8>,
}

impl Memory {
    /// Adds bytes. Returns the address and length, which form a list or string.
    fn slice(&mut self, bytes: &[u8]) -> [u32; 2] {
        let address = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        [address, bytes.len() as u32]
    }

    /// Adds words. Returns their address.
    fn words(&mut self, words: &[u32]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let address = self.bytes.len() as u32;
        self.bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        address
    }

    fn text(&mut self, text: &str) -> u32 {
        let slice = self.slice(text.as_bytes());
        self.words(&slice)
    }

    fn optional_text(&mut self, text: Option<&str>) -> u32 {
        let slice = text.map(|text| self.slice(text.as_bytes()));
        self.optional(slice.as_ref().map(|slice| &slice[..]), 2)
    }

    /// Adds an option of `count` words. Returns its address.
    fn optional(&mut self, words: Option<&[u32]>, count: usize) -> u32 {
        let nothing = vec![0; count];
        self.words(&[&[words.is_some().into()], words.unwrap_or(&nothing)].concat())
    }
}

/// The type of a function's result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Flag,
    Number,
    Text,
    OptionalText,
    ListOfBytes,
    Otlp,
}

/// Encodes the core module: a memory, and functions that return constants.
fn module(data: &[u8], functions: &[(&str, u32)]) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    let mut memories = MemorySection::new();
    let pages = data.len().div_ceil(PAGE) as u64;
    memories.memory(MemoryType {
        minimum: pages,
        maximum: Some(pages),
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let (mut declared, mut exports, mut code) = (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    exports.export("memory", ExportKind::Memory, 0);
    for (index, (name, result)) in (0..).zip(functions) {
        declared.function(0);
        exports.export(name, ExportKind::Func, index);
        let mut body = Function::new([]);
        body.instructions().i32_const(result.cast_signed()).end();
        code.function(&body);
    }
    let mut contents = DataSection::new();
    contents.active(0, &ConstExpr::i32_const(0), data.iter().copied());
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&memories).section(&exports).section(&code).section(&contents);
    module
}

/// Encodes the component around the module.
fn component(module: &Module, functions: &[(&str, Type, u32)]) -> Vec<u8> {
    let mut instances = InstanceSection::new();
    instances.instantiate(0, [] as [(&str, ModuleArg); 0]);
    let (mut aliases, mut types, mut lifted) =
        (ComponentAliasSection::new(), ComponentTypeSection::new(), CanonicalFunctionSection::new());
    aliases.alias(Alias::CoreInstanceExport { instance: 0, kind: ExportKind::Memory, name: "memory" });
    let mut items = Vec::new();
    for (index, (name, ty, _)) in (0..).zip(functions) {
        aliases.alias(Alias::CoreInstanceExport { instance: 0, kind: ExportKind::Func, name });
        lifted.lift(index, function(&mut types, *ty), [CanonicalOption::Memory(0), CanonicalOption::UTF8]);
        items.push((*name, ComponentExportKind::Func, index));
    }
    let (mut interfaces, mut exports) = (ComponentInstanceSection::new(), ComponentExportSection::new());
    interfaces.export_items(items);
    exports.export(INTERFACE, ComponentExportKind::Instance, 0, None);
    let mut component = Component::new();
    component.section(&ModuleSection(module)).section(&instances).section(&aliases).section(&types);
    component.section(&lifted).section(&interfaces).section(&exports);
    component.finish()
}

/// Adds the type of a function with a result. Returns its index.
fn function(types: &mut ComponentTypeSection, result: Type) -> u32 {
    let text = ComponentValType::Primitive(PrimitiveValType::String);
    let mut define = |encode: &dyn Fn(ComponentDefinedTypeEncoder<'_>)| {
        let index = types.len();
        encode(types.defined_type());
        ComponentValType::Type(index)
    };
    let result = match result {
        Type::Flag => ComponentValType::Primitive(PrimitiveValType::Bool),
        Type::Number => ComponentValType::Primitive(PrimitiveValType::U32),
        Type::Text => text,
        Type::OptionalText => define(&|ty| ty.option(text)),
        Type::ListOfBytes => {
            let bytes = define(&|ty| ty.list(PrimitiveValType::U8));
            define(&|ty| ty.list(bytes))
        }
        Type::Otlp => {
            let header = define(&|ty| ty.tuple([text, text]));
            let headers = define(&|ty| ty.list(header));
            let target = define(&|ty| ty.tuple([text, headers]));
            define(&|ty| ty.option(target))
        }
    };
    let index = types.len();
    types.function().params([] as [(&str, ComponentValType); 0]).result(Some(result));
    index
}
