//! Identities: the labels that tell one component's series from another's.

/// The identity of a component: labels that a guest cannot write.
///
/// Every series of a component carries them: the guest's own, and those that the host records about
/// it. Give a version, because two binaries that share an identity share their series.
///
/// ```
/// use wasmetry_host::Identity;
///
/// let identity = Identity::new("storefront").with_version("0f3a52c1").with_tenant("acme");
/// assert_eq!(identity.values(), ["storefront", "0f3a52c1", "acme"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    // In the order of the output.
    tenant: String,
    component: String,
    version: String,
}

impl Identity {
    /// The keys of the labels, in the order of [`values`](Self::values).
    pub const KEYS: [&'static str; 3] = ["component", "version", "tenant"];

    /// Creates an identity that consists of a component's name.
    pub fn new(component: impl Into<String>) -> Self {
        Self { tenant: String::new(), component: component.into(), version: String::new() }
    }

    /// Sets the version.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets the tenant.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// The component's name.
    pub fn component(&self) -> &str {
        &self.component
    }

    /// The component's version, or an empty text.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The tenant, or an empty text.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The values of the labels [`KEYS`](Self::KEYS). An empty value stands for a label that is
    /// absent.
    pub fn values(&self) -> [&str; 3] {
        [&self.component, &self.version, &self.tenant]
    }

    /// Returns the identity as a part of a sentence.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("the component `{}`", self.component);
        if !self.version.is_empty() {
            text += &format!(" of version `{}`", self.version);
        }
        if !self.tenant.is_empty() {
            text += &format!(" of the tenant `{}`", self.tenant);
        }
        text
    }
}
