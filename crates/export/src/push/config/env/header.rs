//! Further headers of requests.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::variable::{Variable, VariableError};
use crate::push::transport::is_protocol_header;

/// Parses `key=value,key=value`, of which the values are percent-encoded.
pub(super) fn parse(variable: &Variable) -> Result<HeaderMap, VariableError> {
    let mut headers = HeaderMap::new();
    for (index, (key, value)) in variable.pairs()?.into_iter().enumerate() {
        // A comma within a value that is not encoded makes a part of the value a key.
        let unnamed =
            || format!("item {} has no name of a header before `=`; write a comma in a value as `%2C`", index + 1);
        let name = HeaderName::from_str(key).map_err(|_| variable.error(unnamed()))?;
        if is_protocol_header(&name) {
            return Err(variable.error(format!("`{name}` belongs to the protocol and cannot be set; remove it")));
        }
        let value = variable.percent_decode(value, &format!("the value of `{key}`"))?;
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| variable.error(format!("the value of `{key}` cannot be that of a header")))?;
        // It may be a password.
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}
