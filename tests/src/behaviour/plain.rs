//! The adapter of adapted guests in a Wasmtime embedding without wasmetry.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use wasmtime::Trap;

use super::runtime::component_values;
use super::suite::{Adapter, Opener, Outcome, Seen};
use super::{Behaviour, Behaviours, Call, Ending, file, line};
use crate::adapted;
use crate::embedding::plain::{PlainHost, PlainLibrary};

/// The time after which a guest is killed or its call is dropped.
const SOON: Duration = Duration::from_millis(50);

/// A host for each guest.
pub struct Plain(BTreeMap<String, PlainHost>);

impl Plain {
    /// Adapts the guests with arguments of `wasmetry adapt`.
    ///
    /// # Panics
    ///
    /// Panics if a guest cannot be adapted.
    pub fn adapted(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let host = |guest: &str| {
            let adapted = adapted::adapt_file(&file(guest, directory.path()), arguments);
            PlainHost::new(&adapted.path)
        };
        Self(Behaviours::read().guests.into_keys().map(|guest| (guest.clone(), host(&guest))).collect())
    }
}

impl<'a> Opener for &'a Plain {
    type Adapter = Host<'a>;

    fn open(&self, behaviour: &Behaviour) -> Host<'a> {
        let host = &self.0[&behaviour.guest];
        Host { host, stderr_start: host.stderr().len() }
    }
}

/// A host program with one guest.
pub struct Host<'a> {
    host: &'a PlainHost,
    /// The position in stderr at which this behaviour's output begins.
    stderr_start: usize,
}

impl<'a> Adapter for Host<'a> {
    type Instance = PlainLibrary<'a>;

    fn shows_changes(&self) -> bool {
        true
    }

    fn instantiate(&mut self) -> PlainLibrary<'a> {
        self.host.library()
    }

    fn call(&mut self, instance: &mut PlainLibrary<'a>, call: &Call, ending: &Ending, _: Seen<'_>) -> Outcome {
        let (function, values) = (&call.function, component_values(call));
        let result = match ending {
            Ending::Return | Ending::Trap(_) => instance.invoke(function, &values),
            Ending::Kill => instance.invoke_until(SOON, function, &values),
            Ending::Drop => match instance.drop_after(SOON, function, &values) {
                Poll::Ready(result) => result,
                Poll::Pending => return Outcome::Dropped,
            },
        };
        match result {
            Ok(()) => Outcome::Returned,
            Err(error) if error.downcast_ref() == Some(&Trap::Interrupt) => Outcome::Killed,
            Err(_) => Outcome::Trapped(None),
        }
    }

    /// Does nothing: adapted guests have written their lines at the end of each call.
    fn collect(&mut self, _: &mut PlainLibrary<'a>) {}

    fn end(&mut self, instance: PlainLibrary<'a>) {
        drop(instance);
    }

    fn scrape(&mut self) -> String {
        line::exposition(&self.host.stderr()[self.stderr_start..])
    }
}
