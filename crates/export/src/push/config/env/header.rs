//! Further headers of requests.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::variable::{Variable, VariableError};
use crate::push::transport::is_protocol_header;

/// Parses `key=value,key=value`, of which the values are percent-encoded.
pub(super) fn parse(variable: &Variable) -> Result<HeaderMap, VariableError> {
    let mut headers = HeaderMap::new();
    for (key, value) in variable.pairs()? {
        let name = HeaderName::from_str(key).map_err(|_| variable.error(format!("`{key}` is no name of a header")))?;
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
