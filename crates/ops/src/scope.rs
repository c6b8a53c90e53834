//! The series of one component, and names that are made of its name.

use crate::alert::proof::{Labels, labels};
use crate::promql::Selector;
use crate::{Component, Settings};

/// The series of one component.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) component: &'a Component,
    /// The prefix of the names of alerts.
    pub(crate) prefix: &'a str,
}

impl Scope<'_> {
    /// Returns the name of an alert.
    pub(crate) fn alert(&self, issue: &str) -> String {
        format!("{}{issue}", self.prefix)
    }

    /// Selects a metric of the component.
    pub(crate) fn select(&self, metric: &str) -> Selector {
        let selector = job(self.settings, metric).with("component", "=", &self.component.name);
        self.of_tenant(selector)
    }

    /// Selects a recorded series of the component.
    pub(crate) fn recorded(&self, metric: &str) -> Selector {
        let selector = Selector { metric: metric.to_owned(), matchers: Vec::new(), range: None, offset: 0 };
        self.of_tenant(selector.with("component", "=", &self.component.name))
    }

    fn of_tenant(&self, selector: Selector) -> Selector {
        match &self.component.tenant {
            Some(tenant) => selector.with("tenant", "=", tenant),
            None => selector,
        }
    }

    /// Returns the labels of the component in tests, and these.
    pub(crate) fn faulty(&self, more: &[(&str, &str)]) -> Labels {
        let tenant = self.component.tenant.as_deref().unwrap_or("acme");
        let mut all = labels(&[("component", &self.component.name), ("tenant", tenant)]);
        all.extend(labels(more));
        all
    }

    /// Returns the labels of the component of another tenant in tests.
    pub(crate) fn other_tenant(&self) -> Labels {
        self.faulty(&[("tenant", "another tenant")])
    }

    /// Returns the labels of a series in tests, as Prometheus scrapes it.
    pub(crate) fn series(&self, group: &Labels) -> Labels {
        let mut all = labels(&[("job", &self.settings.job), ("instance", "a:9464"), ("version", "1")]);
        all.extend(group.clone());
        all
    }
}

/// Selects a metric of the processes.
pub(crate) fn job(settings: &Settings, metric: &str) -> Selector {
    let selector = Selector { metric: metric.to_owned(), matchers: Vec::new(), range: None, offset: 0 };
    selector.with("job", "=", &settings.job)
}
