//! The variables of the sampler. As the specification has it, an invalid value is replaced by the
//! default, with a warning.

use std::ffi::OsString;

use wasmetry_host::propagation::Sampler;

use super::Env;
use super::variable::VariableError;

const EXPECTED: &str = "a share from 0 to 1, such as 0.25";

impl<F: Fn(&str) -> Option<OsString>> Env<F> {
    pub(super) fn sampler(&self) -> Sampler {
        let Some(variable) = self.get("OTEL_TRACES_SAMPLER") else { return Sampler::default() };
        let chosen = variable.choose(&[
            ("always_on", (false, Some(1.0))),
            ("always_off", (false, Some(0.0))),
            ("traceidratio", (false, None)),
            ("parentbased_always_on", (true, Some(1.0))),
            ("parentbased_always_off", (true, Some(0.0))),
            ("parentbased_traceidratio", (true, None)),
        ]);
        let (is_parent_based, ratio) = match chosen {
            Ok(chosen) => chosen,
            Err(error) => {
                self.warn(format!("{error}; it is read as `parentbased_always_on`"));
                return Sampler::default();
            }
        };
        let argument = || {
            self.ratio().unwrap_or_else(|error| {
                self.warn(format!("{error}; it is read as 1"));
                None
            })
        };
        Sampler { ratio: ratio.or_else(argument).unwrap_or(1.0), is_parent_based }
    }

    fn ratio(&self) -> Result<Option<f64>, VariableError> {
        let Some(argument) = self.get("OTEL_TRACES_SAMPLER_ARG") else { return Ok(None) };
        match argument.parse::<f64>(EXPECTED)? {
            ratio if (0.0..=1.0).contains(&ratio) => Ok(Some(ratio)),
            _ => Err(argument.error(format!("set it to {EXPECTED}"))),
        }
    }
}
