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
    /// The queue that guests write to as well, so that a report follows the output of its guest and
    /// never blocks.
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
        let verdict = self.lock().admit(Instant::now());
        self.summarize(verdict.suppressed);
        if verdict.report {
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

struct Verdict {
    /// Set if the request is to be reported.
    report: bool,
    /// The number of reports that were suppressed in a second that is over.
    suppressed: u64,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { begin: now, reported: 0, suppressed: 0 }
    }

    fn admit(&mut self, now: Instant) -> Verdict {
        let suppressed = self.close(now);
        let report = self.reported < limits::REPORTS_PER_SECOND;
        if report {
            self.reported += 1;
        } else {
            self.suppressed += 1;
        }
        Verdict { report, suppressed }
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
        let reported = (0..25).filter(|_| window.admit(begin).report).count();
        assert_eq!(reported, limits::REPORTS_PER_SECOND as usize);
        assert_eq!(window.close(begin + limits::REPORT_WINDOW / 2), 0, "the second is not over");
        let next = window.admit(begin + limits::REPORT_WINDOW);
        assert!(next.report);
        assert_eq!(next.suppressed, 25 - u64::from(limits::REPORTS_PER_SECOND));
        assert_eq!(window.close(begin + 3 * limits::REPORT_WINDOW), 0, "the number is returned once");
    }
}
