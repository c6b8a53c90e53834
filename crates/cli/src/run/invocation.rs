//! The call of a core module's function, with arguments from the command line.

use anyhow::{Context, Result, anyhow, bail};
use wasmtime::{ExternType, FuncType, Instance, Module, Store, Val, ValType};

use super::limits;
use crate::text;

/// The prefix of exports for wasmetry's hosts.
const TELEMETRY: &str = "wasmetry_region_";

/// The call of a function, with arguments of its types.
pub(super) struct Invocation {
    function: String,
    arguments: Vec<Val>,
    results: usize,
}

impl Invocation {
    /// Looks up a function and parses its arguments.
    pub(super) fn new(module: &Module, function: &str, arguments: &[String]) -> Result<Self> {
        let ty = match module.get_export(function) {
            Some(ExternType::Func(ty)) => ty,
            Some(_) => bail!("its export `{}` is not a function; {}", text::line(function), choice(module)),
            None => bail!("it exports no function `{}`; {}", text::line(function), choice(module)),
        };
        let signature = signature(function, &ty);
        if let Some(other) = ty.params().chain(ty.results()).find(|ty| !is_number(ty)) {
            bail!("`{signature}` cannot be invoked from a command line, because {other} is not a number");
        }
        if ty.params().len() != arguments.len() {
            bail!(
                "`{signature}` takes {}, and {} given; give them after `--`",
                count(ty.params().len(), "argument"),
                match arguments.len() {
                    0 => "none is".to_owned(),
                    1 => "1 is".to_owned(),
                    more => format!("{more} are"),
                }
            );
        }
        let arguments = ty
            .params()
            .zip(arguments)
            .map(|(ty, argument)| value(&ty, argument).with_context(|| format!("`{signature}`")))
            .collect::<Result<_>>()?;
        Ok(Self { function: function.to_owned(), arguments, results: ty.results().len() })
    }

    /// Calls the function in an instance of the module. Returns its results, one per line.
    pub(super) async fn call<T: Send>(&self, instance: &Instance, store: &mut Store<T>) -> wasmtime::Result<String> {
        let function = instance
            .get_func(&mut *store, &self.function)
            .ok_or_else(|| wasmtime::Error::msg("the function is not there"))?;
        let mut results = vec![Val::I32(0); self.results];
        function.call_async(store, &self.arguments, &mut results).await?;
        Ok(results.iter().map(|value| show(value) + "\n").collect())
    }
}

/// Returns `true` if a module has the entry point of a command.
pub(super) fn is_command(module: &Module) -> bool {
    matches!(module.get_export("_start"), Some(ExternType::Func(ty)) if ty.params().len() + ty.results().len() == 0)
}

/// Lists the functions of a module that can be invoked, for an error.
pub(super) fn choice(module: &Module) -> String {
    let mut functions: Vec<String> = module
        .exports()
        .filter(|export| !export.name().starts_with(TELEMETRY) && export.name() != "_initialize")
        .filter_map(|export| match export.ty() {
            ExternType::Func(ty) => Some(format!("`{}`", signature(export.name(), &ty))),
            _ => None,
        })
        .collect();
    let more = functions.len().saturating_sub(limits::REPORTED_FUNCTIONS);
    functions.truncate(limits::REPORTED_FUNCTIONS);
    if more > 0 {
        functions.push(format!("… ({more} more)"));
    }
    match functions.as_slice() {
        [] => "it exports no function that could be invoked".to_owned(),
        functions => format!("choose one of its functions with --invoke: {}", functions.join(", ")),
    }
}

/// Formats the signature of a function: `look(i32) -> i32`.
fn signature(name: &str, ty: &FuncType) -> String {
    let list = |types: Vec<String>| types.join(", ");
    let parameters = list(ty.params().map(|ty| ty.to_string()).collect());
    let results: Vec<String> = ty.results().map(|ty| ty.to_string()).collect();
    let name = text::line(name);
    match results.len() {
        0 => format!("{name}({parameters})"),
        1 => format!("{name}({parameters}) -> {}", list(results)),
        _ => format!("{name}({parameters}) -> ({})", list(results)),
    }
}

fn is_number(ty: &ValType) -> bool {
    matches!(ty, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64)
}

/// Parses an argument. Integers may be signed or unsigned, decimal or hexadecimal.
fn value(ty: &ValType, argument: &str) -> Result<Val> {
    let shown = text::line(argument);
    let wrong = |range: &str| anyhow!("`{shown}` is not an {ty}: expected {range}");
    Ok(match ty {
        ValType::I32 => {
            let number = integer(argument).filter(|number| (i32::MIN.into()..=u32::MAX.into()).contains(number));
            // Functions take the bits, which are the same for signed and unsigned values.
            Val::I32(number.ok_or_else(|| wrong("an integer from -2147483648 to 4294967295"))? as u32 as i32)
        }
        ValType::I64 => {
            let number = integer(argument).filter(|number| (i64::MIN.into()..=u64::MAX.into()).contains(number));
            Val::I64(number.ok_or_else(|| wrong("an integer from -9223372036854775808 to 18446744073709551615"))? as i64)
        }
        ValType::F32 => Val::F32(argument.parse::<f32>().map_err(|_| wrong("a number such as `1.5`"))?.to_bits()),
        ValType::F64 => Val::F64(argument.parse::<f64>().map_err(|_| wrong("a number such as `1.5`"))?.to_bits()),
        other => bail!("{other} is not a number"),
    })
}

fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (radix, digits) = match digits.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None => (10, digits),
    };
    // The parser would accept a second sign.
    let is_plain = digits.starts_with(|first: char| first.is_digit(radix));
    is_plain.then(|| i128::from_str_radix(digits, radix).ok()).flatten().map(|number| sign * number)
}

/// Formats a number in the way that arguments are written.
fn show(value: &Val) -> String {
    match value {
        Val::I32(number) => number.to_string(),
        Val::I64(number) => number.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        other => format!("{other:?}"),
    }
}

fn count(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::Engine;

    fn module(wat: &str) -> Module {
        Module::new(&Engine::default(), wat::parse_str(wat).unwrap()).unwrap()
    }

    fn error(module: &Module, function: &str, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        format!("{:#}", Invocation::new(module, function, &arguments).err().unwrap())
    }

    #[test]
    fn arguments_follow_the_signature() {
        let bits = |ty: ValType, text: &str| match value(&ty, text).ok()? {
            Val::I32(number) => Some(number as u32 as u64),
            Val::I64(number) => Some(number as u64),
            Val::F32(bits) => Some(bits.into()),
            Val::F64(bits) => Some(bits),
            _ => None,
        };
        assert_eq!(bits(ValType::I32, "42"), Some(42));
        assert_eq!(bits(ValType::I32, "-1"), Some(0xffff_ffff));
        assert_eq!(bits(ValType::I32, "4294967295"), Some(0xffff_ffff));
        assert_eq!(bits(ValType::I32, "-2147483648"), Some(0x8000_0000));
        assert_eq!(bits(ValType::I32, "0xff"), Some(255));
        assert_eq!(bits(ValType::I32, "-0x10"), Some(0xffff_fff0));
        assert_eq!(bits(ValType::I64, "18446744073709551615"), Some(u64::MAX));
        assert_eq!(bits(ValType::I64, "-9223372036854775808"), Some(1 << 63));
        assert_eq!(bits(ValType::F32, "1.5"), Some(1.5f32.to_bits().into()));
        assert_eq!(bits(ValType::F64, "-1e3"), Some((-1e3f64).to_bits()));
        assert_eq!(bits(ValType::F64, "inf"), Some(f64::INFINITY.to_bits()));
        for wrong in ["", "x", "1.5", "4294967296", "-2147483649", "--1", "+-1", "0x", "0x-1", "1 ", "½"] {
            assert_eq!(bits(ValType::I32, wrong), None, "{wrong}");
        }
        for wrong in ["18446744073709551616", "-9223372036854775809", "170141183460469231731687303715884105728"] {
            assert_eq!(bits(ValType::I64, wrong), None, "{wrong}");
        }
        assert_eq!(bits(ValType::F64, "one"), None);
    }

    #[test]
    fn wrong_invocations_are_explained() {
        let module = module(
            "(module
                (memory (export \"memory\") 1)
                (func (export \"add\") (param i32 i64) (result f64) unreachable)
                (func (export \"both\") (result i32 f32) unreachable)
                (func (export \"foreign\") (param v128))
                (func (export \"_initialize\"))
                (func (export \"wasmetry_region_1\") (result i32) unreachable))",
        );
        let functions = "--invoke: `add(i32, i64) -> f64`, `both() -> (i32, f32)`, `foreign(v128)`";
        assert!(error(&module, "sub", &[]).ends_with(functions), "{}", error(&module, "sub", &[]));
        assert!(error(&module, "memory", &[]).starts_with("its export `memory` is not a function"));
        assert!(error(&module, "add", &[]).contains("takes 2 arguments, and none is given"));
        assert!(error(&module, "both", &["1"]).contains("takes 0 arguments, and 1 is given"));
        assert!(error(&module, "add", &["1", "x"]).contains("`add(i32, i64) -> f64`: `x` is not an i64"));
        assert!(error(&module, "foreign", &["1"]).contains("because v128 is not a number"));
        assert!(!is_command(&module));
    }

    #[test]
    fn long_export_lists_are_truncated() {
        let functions: String = (0..1000).map(|i| format!("(func (export \"f{i}\"))")).collect();
        let error = error(&module(&format!("(module {functions})")), "none", &[]);
        assert!(error.ends_with("`f19()`, … (980 more)"), "{error}");
    }
}
