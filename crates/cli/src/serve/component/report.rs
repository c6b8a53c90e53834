//! Reports of failed requests: one line each on stderr, up to a limit per second.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use http::Method;

use crate::serve::limits;
use crate::serve::output::Output;
use crate::text;

/// Reports the failed requests of one component.
pub(in crate::serve) struct Reporter {
    component: String,
    /// The lane that the component's guests write to as well, so that a report follows the output
    /// of its guest and never blocks.
    stderr: Output,
    window: Mutex<Window>,
}

impl Reporter {
    pub(in crate::serve) fn new(component: &str, stderr: Output) -> Self {
        Self { component: component.to_owned(), stderr, window: Mutex::new(Window::new(Instant::now())) }
    }

    /// Reports one request, unless the limit of this second is reached. `path` must not contain the
    /// query, which may hold secrets; `route` is the one that the guest has set.
    pub(in crate::serve) fn report(&self, method: &Method, path: &str, route: Option<&str>, what: &str, why: &str) {
        let admission = self.lock().admit(Instant::now());
        self.summarize(admission.suppressed_before);
        if admission.is_admitted {
            let path: String = path.chars().take(limits::REPORTED_PATH).collect();
            let route = route.map(|route| format!(" (route {route})")).unwrap_or_default();
            let request = text::line(&format!("{} {method} {path}{route}", self.component));
            if !self.stderr.line(format!("{what}: {request}: {}", text::line(why))) {
                self.lock().suppressed += 1;
            }
        }
    }

    /// Writes a summary of the reports of past seconds that were suppressed.
    pub(in crate::serve) fn flush(&self) {
        let suppressed = self.lock().close(Instant::now());
        self.summarize(suppressed);
    }

    fn summarize(&self, suppressed: u64) {
        if suppressed > 0 {
            let component = text::line(&self.component);
            // If the queue is full, this line is lost too; the metric has the number.
            self.stderr.line(format!(
                "{component}: {suppressed} more requests failed within a second; wasm_traps_total counts all"
            ));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reports of one second.
struct Window {
    begin: Instant,
    reported: u32,
    suppressed: u64,
}

/// The result of offering a report.
struct Admission {
    /// `true` if the limit of this second is not reached, so that the report is written.
    is_admitted: bool,
    /// The number of reports that were suppressed in the last second, if this report is the first
    /// one after it.
    suppressed_before: u64,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { begin: now, reported: 0, suppressed: 0 }
    }

    /// Counts a report as reported or as suppressed.
    fn admit(&mut self, now: Instant) -> Admission {
        let suppressed_before = self.close(now);
        let is_admitted = self.reported < limits::REPORTS_PER_SECOND;
        if is_admitted {
            self.reported += 1;
        } else {
            self.suppressed += 1;
        }
        Admission { is_admitted, suppressed_before }
    }

    /// Begins a new second if this one is over. Returns the number of reports suppressed in it.
    fn close(&mut self, now: Instant) -> u64 {
        if now.duration_since(self.begin) < limits::REPORT_WINDOW {
            return 0;
        }
        std::mem::replace(self, Self::new(now)).suppressed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floods_are_summarized() {
        let begin = Instant::now();
        let mut window = Window::new(begin);
        let reported = (0..25).filter(|_| window.admit(begin).is_admitted).count();
        assert_eq!(reported, limits::REPORTS_PER_SECOND as usize);
        assert_eq!(window.close(begin + limits::REPORT_WINDOW / 2), 0, "the second is not over");
        let next = window.admit(begin + limits::REPORT_WINDOW);
        assert!(next.is_admitted);
        assert_eq!(next.suppressed_before, 25 - u64::from(limits::REPORTS_PER_SECOND));
        assert_eq!(window.close(begin + 3 * limits::REPORT_WINDOW), 0, "the number is returned once");
    }
}
