//! The state of the screen: what is shown, and what a key changes.

use serde_json::Value;
use termion::event::Key;

use super::Options;
use crate::client::query;
use crate::{Error, answer, explain, limits};

/// The column by which rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// The host's order: failing ones first.
    Problems,
    Rate,
    Errors,
    P99,
    Busy,
    Memory,
    Traps,
    Name,
}

impl Sort {
    const ALL: [Self; 8] =
        [Self::Problems, Self::Rate, Self::Errors, Self::P99, Self::Busy, Self::Memory, Self::Traps, Self::Name];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Problems => "problems",
            Self::Rate => "rate",
            Self::Errors => "errors",
            Self::P99 => "p99",
            Self::Busy => "busy",
            Self::Memory => "memory",
            Self::Traps => "traps",
            Self::Name => "name",
        }
    }

    fn next(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(at + by) % Self::ALL.len()]
    }
}

/// The page that the screen shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Overview,
    /// The logs of a row.
    Logs(Filter),
    /// The causes of a row's failures.
    Explain(Filter),
    Help,
}

/// A row of the overview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) component: String,
    pub(super) tenant: String,
    pub(super) route: Option<String>,
}

impl Filter {
    fn parameters(&self) -> [(&'static str, Option<&str>); 3] {
        [
            ("component", Some(self.component.as_str())),
            ("tenant", Some(self.tenant.as_str())),
            ("route", self.route.as_deref()),
        ]
    }
}

/// The effect of a key on the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Quit,
}

/// A line of the overview: a component, or one of its routes.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) filter: Filter,
    pub(super) value: Value,
}

const RANGES: [u32; 3] = [300, 900, 3600];

/// The state of the screen.
#[derive(Debug)]
pub(super) struct State {
    pub(super) address: String,
    component: Option<String>,
    pub(super) page: Page,
    range: usize,
    pub(super) sort: Sort,
    is_reversed: bool,
    /// The text by which rows and logs are filtered.
    pub(super) text: String,
    /// `true` while the text is edited.
    pub(super) is_editing: bool,
    is_paused: bool,
    overview: Value,
    pub(super) lines: Vec<String>,
    /// The target of the latest answer.
    answered: String,
    /// The latest error of a request.
    pub(super) error: Option<String>,
    first_error: Option<Error>,
    pub(super) selected: usize,
    pub(super) scroll: usize,
    /// `true` if the newest log stays in view.
    pub(super) follows_end: bool,
    /// The rows for which the screen has room, set when it is drawn.
    pub(super) height: usize,
    /// The rows that the lines take, set when they are drawn.
    pub(super) shown: usize,
}

impl State {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            address: options.address.clone(),
            component: options.component.clone(),
            page: Page::Overview,
            range: 0,
            sort: Sort::Problems,
            is_reversed: false,
            text: String::new(),
            is_editing: false,
            is_paused: false,
            overview: Value::Null,
            lines: Vec::new(),
            answered: String::new(),
            error: None,
            first_error: None,
            selected: 0,
            scroll: 0,
            follows_end: false,
            height: 1,
            shown: 0,
        }
    }

    /// The request for what is shown.
    pub(super) fn target(&self) -> String {
        let range = RANGES[self.range].to_string();
        match &self.page {
            Page::Overview | Page::Help => {
                let limit = limits::COMPONENTS.to_string();
                let parameters = [
                    ("component", self.component.as_deref()),
                    ("range", Some(range.as_str())),
                    ("limit", Some(limit.as_str())),
                ];
                format!("/api/v1/overview{}", query(&parameters))
            }
            Page::Logs(filter) => {
                let limit = limits::LOGS.to_string();
                let text = (!self.text.is_empty() && !self.is_editing).then_some(self.text.as_str());
                let mut parameters = filter.parameters().to_vec();
                parameters.extend([("text", text), ("limit", Some(limit.as_str()))]);
                format!("/api/v1/logs{}", query(&parameters))
            }
            Page::Explain(filter) => {
                let mut parameters = filter.parameters().to_vec();
                parameters.push(("since", Some(range.as_str())));
                format!("/api/v1/explain{}", query(&parameters))
            }
        }
    }

    /// Returns `true` if what is shown was not requested yet.
    pub(super) fn needs_answer(&self) -> bool {
        self.answered != self.target()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) fn range_seconds(&self) -> u32 {
        RANGES[self.range]
    }

    /// Takes an answer. One to a page that was left is ignored.
    pub(super) fn receive(&mut self, target: &str, answer: Result<Value, Error>) {
        if target != self.target() {
            return;
        }
        target.clone_into(&mut self.answered);
        match answer {
            Err(error) => {
                self.error = Some(error.to_string());
                self.first_error = Some(error);
            }
            Ok(answer) => {
                (self.error, self.first_error) = (None, None);
                match &self.page {
                    Page::Overview | Page::Help => self.overview = answer,
                    Page::Logs(_) => {
                        self.lines = answer::list(&answer, "logs").iter().rev().map(log_line).collect();
                    }
                    Page::Explain(_) => self.lines = explain::lines(&answer),
                }
            }
        }
    }

    pub(super) fn take_first_error(&mut self) -> Option<Error> {
        self.first_error.take()
    }

    /// The rows that are shown, in their order.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |component: &Value, route: Option<&Value>| Row {
            filter: Filter {
                component: answer::text(component, "component").to_owned(),
                tenant: answer::text(component, "tenant").to_owned(),
                route: route.map(|route| answer::text(route, "route").to_owned()),
            },
            value: route.unwrap_or(component).clone(),
        };
        let mut groups: Vec<Vec<Row>> = Vec::new();
        for component in answer::list(&self.overview, "components") {
            let mut routes: Vec<Row> =
                answer::list(component, "routes").iter().map(|route| row(component, Some(route))).collect();
            self.sort_rows(&mut routes);
            let mut group = vec![row(component, None)];
            let is_wanted = |row: &Row| {
                let contains = |text: &str| text.to_lowercase().contains(&self.text.to_lowercase());
                contains(&row.filter.component)
                    || contains(&row.filter.tenant)
                    || row.filter.route.as_deref().is_some_and(contains)
            };
            routes.retain(is_wanted);
            // A component is shown with each of its routes that is.
            if !routes.is_empty() || is_wanted(&group[0]) {
                group.extend(routes);
                groups.push(group);
            }
        }
        if self.sort != Sort::Problems {
            groups.sort_by(|a, b| self.compare(&a[0], &b[0]));
        }
        if self.is_reversed {
            groups.reverse();
        }
        groups.into_iter().flatten().collect()
    }

    /// The components and routes that the host's answer leaves out, in words.
    pub(super) fn left_out(&self) -> Option<String> {
        let components = answer::number(&self.overview, "components_left_out").unwrap_or(0.0);
        let routes: f64 = answer::list(&self.overview, "components")
            .iter()
            .filter_map(|component| answer::number(component, "routes_left_out"))
            .sum();
        let parts = [(components, "components (--component shows one)"), (routes, "routes")];
        let parts = parts.iter().filter(|(count, _)| *count > 0.0);
        let parts: Vec<String> = parts.map(|(count, what)| format!("{count:.0} more {what}")).collect();
        (!parts.is_empty()).then(|| format!("and {}", parts.join(", ")))
    }

    fn sort_rows(&self, rows: &mut [Row]) {
        if self.sort != Sort::Problems {
            rows.sort_by(|a, b| self.compare(a, b));
        }
        if self.is_reversed {
            rows.reverse();
        }
    }

    fn compare(&self, a: &Row, b: &Row) -> std::cmp::Ordering {
        let name = |row: &Row| (row.filter.component.clone(), row.filter.tenant.clone(), row.filter.route.clone());
        let number = |row: &Row| match self.sort {
            Sort::Rate => answer::number(&row.value, "rate"),
            Sort::Errors => answer::number(&row.value, "error_ratio"),
            Sort::P99 => answer::number(&row.value, "p99"),
            Sort::Busy => answer::number(&row.value, "busy"),
            Sort::Memory => answer::number(&row.value, "memory_bytes"),
            Sort::Traps => Some(traps(&row.value)),
            Sort::Problems | Sort::Name => None,
        };
        let [first, second] = [a, b].map(|row| number(row).unwrap_or(-1.0));
        second.total_cmp(&first).then_with(|| name(a).cmp(&name(b)))
    }

    /// Changes the state by a key.
    pub(super) fn press(&mut self, key: Key) -> Effect {
        if self.is_editing {
            match key {
                Key::Char('\n') => self.is_editing = false,
                Key::Esc => (self.is_editing, self.text) = (false, String::new()),
                Key::Backspace => drop(self.text.pop()),
                Key::Char(char) if !char.is_control() && self.text.chars().count() < 100 => self.text.push(char),
                Key::Ctrl('c') => return Effect::Quit,
                _ => {}
            }
            self.selected = 0;
            return Effect::None;
        }
        let is_overview = self.page == Page::Overview;
        match key {
            Key::Char('q') | Key::Ctrl('c') => return Effect::Quit,
            Key::Esc | Key::Backspace | Key::Left if !is_overview => self.open(Page::Overview),
            Key::Esc => self.text.clear(),
            Key::Char('?' | 'h') if is_overview => self.open(Page::Help),
            Key::Char('\n' | 'l') | Key::Right if is_overview => self.open_row(Page::Logs),
            Key::Char('e') if is_overview => self.open_row(Page::Explain),
            Key::Char('s') if is_overview => (self.sort, self.is_reversed) = (self.sort.next(1), false),
            Key::Char('S') if is_overview => (self.sort, self.is_reversed) = (self.sort.next(7), false),
            Key::Char('R') if is_overview => self.is_reversed = !self.is_reversed,
            Key::Char('r') => self.range = (self.range + 1) % RANGES.len(),
            Key::Char('p' | ' ') => self.is_paused = !self.is_paused,
            Key::Char('/') if !matches!(self.page, Page::Help | Page::Explain(_)) => self.is_editing = true,
            Key::Down | Key::Char('j') => self.move_by(1),
            Key::Up | Key::Char('k') => self.move_by(-1),
            Key::PageDown => self.move_by(self.height as isize),
            Key::PageUp => self.move_by(-(self.height as isize)),
            Key::Home | Key::Char('g') => self.move_by(isize::MIN / 2),
            Key::End | Key::Char('G') => self.move_by(isize::MAX / 2),
            _ => {}
        }
        Effect::None
    }

    fn open(&mut self, page: Page) {
        if page == Page::Overview {
            // The text of logs is none of the rows.
            self.text.clear();
        }
        self.page = page;
        self.lines.clear();
        self.scroll = 0;
        self.follows_end = matches!(self.page, Page::Logs(_));
    }

    fn open_row(&mut self, page: impl Fn(Filter) -> Page) {
        if let Some(row) = self.rows().into_iter().nth(self.selected) {
            self.text.clear();
            self.open(page(row.filter));
        }
    }

    fn move_by(&mut self, by: isize) {
        if self.page == Page::Overview {
            let last = self.rows().len().saturating_sub(1);
            self.selected = self.selected.min(last).saturating_add_signed(by).min(last);
        } else {
            let last = self.shown.saturating_sub(self.height);
            self.scroll = self.scroll.min(last).saturating_add_signed(by).min(last);
            self.follows_end = matches!(self.page, Page::Logs(_)) && self.scroll == last;
        }
    }
}

/// The traps of a row, of all reasons.
pub(super) fn traps(value: &Value) -> f64 {
    // The sum of nothing would be -0.
    answer::list(value, "traps")
        .iter()
        .filter_map(|trap| answer::number(trap, "count"))
        .fold(0.0, |sum, count| sum + count)
}

fn log_line(log: &Value) -> String {
    let level = match answer::text(log, "stream") {
        "" => answer::text(log, "level").to_uppercase(),
        stream => stream.to_owned(),
    };
    format!(
        "{} {:<6} {}",
        crate::format::time_of_day(answer::number(log, "time").unwrap_or(0.0)),
        crate::escape(&level),
        answer::message(log)
    )
}
