//! The drawing of the state into a screen of any size.

use super::frame::{Colour, Frame, Row, Style, fit, pad, wrap};
use super::state::{Page, Row as StateRow, Sort, State, traps};
use crate::escape::escape_to;
use crate::{answer, format};

/// The keys, as the help page lists them.
const HELP: &str = "\
  up down j k PgUp PgDn g G   move
  Enter l                     logs of the selected row
  e                           why its requests fail or are slow
  Esc                         back; in the overview, drop the filter
  s S                         sort by the next or the earlier column
  R                           reverse the order
  /                           filter rows, or logs; Enter ends it, Esc drops it
  r                           the range: 5 minutes, 15 minutes, 1 hour
  p Space                     pause
  q                           quit

Columns: requests a second; failed ones (status of 500 and more); the 99th percentile of durations;
seconds of guests' time a second; memory of all instances; guests that trapped in the range.";

/// Draws the screen: a row about the host, the page, and a row of keys.
pub(super) fn draw(width: u16, height: u16, state: &mut State) -> Frame {
    let (width, height) = (usize::from(width), usize::from(height));
    let room = height.saturating_sub(2);
    let mut page = match &state.page {
        Page::Overview => overview(width, room, state),
        Page::Help => help(width, room, state),
        Page::Logs(_) | Page::Explain(_) => lines(width, room, state),
    };
    page.resize(room, Row::default());
    page.insert(0, title(state));
    page.push(keys(width, state));
    Frame::new(width, height, page)
}

fn plain(text: impl Into<String>) -> Row {
    Row::new(text, Style::default())
}

fn title(state: &State) -> Row {
    if let Some(error) = &state.error {
        return Row::new(escape_to(error, 500), Style::coloured(Some(Colour::Red)));
    }
    let range = format::duration(Some(f64::from(state.range_seconds())));
    let what = match &state.page {
        Page::Overview => format!("sort: {}", state.sort.name()),
        Page::Help => "help".to_owned(),
        Page::Logs(filter) | Page::Explain(filter) => {
            let page = if matches!(state.page, Page::Logs(_)) { "logs of" } else { "explain" };
            let route = filter.route.as_deref().map(|route| format!(" {}", escape_to(route, 60)));
            format!("{page} {}{}", escape_to(&filter.component, 60), route.unwrap_or_default())
        }
    };
    let mut row = Row::new("wasmetry top ", Style::BOLD);
    row.push(format!("{}  {range}  {what}", escape_to(&state.address, 60)), Style::default());
    if state.is_paused() {
        row.push("  paused", Style::coloured(Some(Colour::Yellow)));
    }
    row
}

fn keys(width: usize, state: &State) -> Row {
    if state.is_editing {
        return plain(format!("filter: {}_", escape_to(&state.text, 100)));
    }
    let filter = if state.text.is_empty() { String::new() } else { format!("[{}] ", escape_to(&state.text, 30)) };
    let keys = match state.page {
        Page::Overview => "q quit  Enter logs  e explain  s sort  / filter  r range  p pause  ? help",
        Page::Logs(_) => "q quit  Esc back  up/down scroll  / filter  p pause",
        Page::Help | Page::Explain(_) => "q quit  Esc back  up/down scroll  r range",
    };
    Row::new(pad(&format!("{keys}  {filter}"), width), Style::REVERSED)
}

/// A column: its title, its width, and the order that it stands for.
const COLUMNS: [(&str, usize, Sort); 6] = [
    ("req/s", 7, Sort::Rate),
    ("errors", 7, Sort::Errors),
    ("p99", 6, Sort::P99),
    ("busy", 6, Sort::Busy),
    ("memory", 7, Sort::Memory),
    ("traps", 6, Sort::Traps),
];

/// The fewest columns of names. On a narrow screen, the numbers are cut.
const NAME: usize = 16;

fn overview(width: usize, room: usize, state: &mut State) -> Vec<Row> {
    let rows = state.rows();
    let left_out = state.left_out();
    state.height = room.saturating_sub(1 + usize::from(left_out.is_some())).max(1);
    state.selected = state.selected.min(rows.len().saturating_sub(1));
    // The selected row is always seen.
    state.scroll = state.scroll.min(state.selected).max((state.selected + 1).saturating_sub(state.height));
    let numbers: usize = COLUMNS.iter().map(|(_, width, _)| width + 1).sum();
    let name = width.saturating_sub(numbers).max(NAME);
    let mut header = Row::new(pad("component, route", name), Style::BOLD);
    for (title, width, sort) in COLUMNS {
        let style = Style { is_underlined: sort == state.sort, ..Style::BOLD };
        header.push(" ".repeat(width + 1 - title.len()), Style::default());
        header.push(title, style);
    }
    let mut page = vec![header];
    if rows.is_empty() {
        let text: &[&str] = if state.text.is_empty() {
            &[
                "",
                "Nothing is served, or no request has come yet.",
                "Send one, for example with curl to the service's own address.",
            ]
        } else {
            &["", "No row has this text. Press Esc to drop the filter."]
        };
        page.extend(text.iter().flat_map(|line| wrap(line, width)).map(plain));
    }
    for (at, row) in rows.iter().enumerate().skip(state.scroll).take(state.height) {
        let mut row = table_row(row, name);
        if at == state.selected {
            row.select();
        }
        page.push(row);
    }
    page.extend(left_out.map(|text| plain(pad(&text, width))));
    page.truncate(room);
    page
}

fn table_row(row: &StateRow, name_width: usize) -> Row {
    let value = &row.value;
    let number = |key: &str| answer::number(value, key);
    let name = match &row.filter.route {
        Some(route) => format!("  {}", escape_to(route, 200)),
        None => answer::component(value),
    };
    let errors = number("error_ratio");
    let traps = traps(value);
    // A route has no instances of its own.
    let of_component = |text: String| if row.filter.route.is_some() { String::new() } else { text };
    let cells = [
        (format::rate(number("rate")), None),
        (format::percent(errors), errors.filter(|errors| *errors > 0.0).map(|_| Colour::Red)),
        (format::duration(number("p99")), None),
        (of_component(number("busy").map_or_else(|| "-".to_owned(), |busy| format!("{busy:.2}"))), None),
        (of_component(format::bytes(number("memory_bytes"))), None),
        (format!("{traps:.0}"), (traps > 0.0).then_some(Colour::Red)),
    ];
    let mark = match answer::text(value, "state") {
        "failing" => Some(Colour::Red),
        "degraded" => Some(Colour::Yellow),
        _ => None,
    };
    let mut row = Row::new(pad(&name, name_width), Style::coloured(mark));
    for ((text, colour), (_, width, _)) in cells.into_iter().zip(COLUMNS) {
        let (text, _) = fit(&text, width);
        row.push(format!(" {text:>width$}"), Style::coloured(colour));
    }
    row
}

fn help(width: usize, room: usize, state: &mut State) -> Vec<Row> {
    let rows = HELP.lines().flat_map(|line| wrap(line, width.max(1))).map(plain).collect();
    scrolled(rows, room, state)
}

fn lines(width: usize, room: usize, state: &mut State) -> Vec<Row> {
    let mut rows = Vec::new();
    for line in &state.lines {
        let colour = match () {
            () if line.contains(" ERROR ") => Some(Colour::Red),
            () if line.contains(" WARN ") => Some(Colour::Yellow),
            () => None,
        };
        rows.extend(wrap(line, width.max(1)).into_iter().map(|row| Row::new(row, Style::coloured(colour))));
    }
    if rows.is_empty() && !state.needs_answer() {
        rows.push(plain("There is nothing yet."));
    }
    scrolled(rows, room, state)
}

/// Returns the rows of a page that are in view.
fn scrolled(mut rows: Vec<Row>, room: usize, state: &mut State) -> Vec<Row> {
    state.height = room.max(1);
    state.shown = rows.len();
    let last = rows.len().saturating_sub(state.height);
    state.scroll = if state.follows_end { last } else { state.scroll.min(last) };
    rows.drain(..state.scroll);
    rows.truncate(room);
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use termion::event::Key;

    use super::super::Options;
    use super::*;

    fn screen(state: &mut State, width: u16, height: u16) -> Vec<String> {
        draw(width, height, state).texts()
    }

    fn overview() -> Value {
        serde_json::from_str(include_str!("../../../console/tests/fixtures/overview.json")).unwrap()
    }

    fn shown(answer: Value) -> State {
        let mut state = State::new(&Options { address: "http://127.0.0.1:9464".into(), component: None });
        let target = state.target();
        state.receive(&target, Ok(answer));
        state
    }

    #[test]
    fn overview_fits_80_columns() {
        let lines = screen(&mut shown(overview()), 80, 24);
        assert_eq!(lines[0], "wasmetry top http://127.0.0.1:9464  5m  sort: problems");
        let expected = [
            "component, route                      req/s  errors    p99   busy  memory  traps",
            "storefront                               12    4.2%   94ms   0.03    2.2M      3",
            "  /cart                                5.70    9.1%  110ms                     3",
        ];
        assert_eq!(lines[1..4], expected);
        assert_eq!(lines[23], "q quit  Enter logs  e explain  s sort  / filter  r range  p pause  ? help");
    }

    #[test]
    fn help_scrolls_on_small_screen() {
        let mut state = shown(overview());
        state.press(Key::Char('?'));
        let first = screen(&mut state, 44, 8);
        assert!(first[1].trim_start().starts_with("up down j k"), "{first:?}");
        state.press(Key::Down);
        assert_eq!(screen(&mut state, 44, 8)[1..6], first[2..7]);
        state.press(Key::Char('G'));
        let last = screen(&mut state, 44, 8);
        assert!(last[6].trim_end().ends_with("range."), "{last:?}");
        assert!(last[7].contains("up/down scroll"), "{last:?}");
        state.press(Key::Char('g'));
        assert_eq!(screen(&mut state, 44, 8), first);
        // On a large one all of it is in view, and stays.
        let large = screen(&mut state, 120, 40);
        state.press(Key::PageDown);
        assert_eq!(screen(&mut state, 120, 40), large);
    }

    #[test]
    fn any_size_is_drawn() {
        let mut state = shown(overview());
        for page in [Key::Char('?'), Key::Esc, Key::Char('\n'), Key::Esc, Key::Char('e')] {
            for (width, height) in [(0, 0), (1, 1), (3, 2), (20, 5), (80, 24), (300, 100)] {
                screen(&mut state, width, height);
            }
            state.press(page);
        }
    }

    /// A component with a name that controls a terminal, and one with long words.
    #[test]
    fn hostile_names_are_escaped() {
        let hostile = json!({"components": [
            {"component": "\u{1b}]0;owned\u{7}", "tenant": "", "routes": []},
            {"component": "x".repeat(10_000), "tenant": "a\u{202e}b", "rate": "NaN", "p99": -1, "routes": [{"route": "/\n"}]},
        ]});
        let lines = screen(&mut shown(hostile), 80, 24);
        assert!(lines[2].starts_with("\\u{1b}]0;owned\\u{7}"), "{lines:?}");
        assert!(lines[3].starts_with("a\\u{202e}b/xxx"), "{lines:?}");
        assert!(lines[4].starts_with("  /\\n"), "{lines:?}");
    }

    /// The last row counts what the host's answer has left out, on a screen with room for all rows
    /// and on one without.
    #[test]
    fn last_row_counts_left_out() {
        let routes: Vec<Value> = (0..30).map(|route| json!({"route": format!("/{route}")})).collect();
        let answer = json!({
            "components": [
                {"component": "a", "tenant": "", "routes": routes, "routes_left_out": 40},
                {"component": "b", "tenant": "", "routes": [], "routes_left_out": 2},
            ],
            "components_left_out": 5,
        });
        let mut state = shown(answer.clone());
        let expected = "and 5 more components (--component shows one), 42 more routes";
        assert_eq!(screen(&mut state, 80, 50)[34], expected);
        assert_eq!(screen(&mut state, 80, 24)[22], expected);
        // The selected row is above it.
        state.press(Key::End);
        let lines = screen(&mut state, 80, 24);
        assert!(lines[21].starts_with("b "), "{lines:?}");
        assert_eq!(lines[22], expected);
        let mut whole = answer;
        whole["components_left_out"] = json!(0);
        whole["components"][0]["routes_left_out"] = json!(0);
        assert!(screen(&mut shown(whole), 80, 24)[22].starts_with("and 2 more routes"));
    }

    #[test]
    fn rows_are_sorted_and_filtered() {
        let answer = json!({"components": [
            {"component": "b", "tenant": "", "rate": 1.0, "p99": 2.0, "routes": [{"route": "/x", "rate": 1.0}]},
            {"component": "a", "tenant": "", "rate": 5.0, "p99": 1.0, "routes": [{"route": "/y", "rate": 5.0}]},
        ]});
        let mut state = shown(answer);
        let names = |state: &State| {
            state
                .rows()
                .iter()
                .map(|row| row.filter.route.clone().unwrap_or(row.filter.component.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&state), ["b", "/x", "a", "/y"]);
        state.press(Key::Char('s'));
        assert_eq!((state.sort, names(&state)), (Sort::Rate, ["a", "/y", "b", "/x"].map(str::to_owned).to_vec()));
        state.press(Key::Char('R'));
        assert_eq!(names(&state), ["b", "/x", "a", "/y"]);
        for key in ['/', 'Y', '\n'] {
            state.press(Key::Char(key));
        }
        assert_eq!(names(&state), ["a", "/y"]);
        state.press(Key::Esc);
        assert_eq!(names(&state).len(), 4);
    }

    #[test]
    fn row_opens_its_logs() {
        let mut state = shown(overview());
        state.press(Key::Down);
        state.press(Key::Char('\n'));
        assert_eq!(state.target(), "/api/v1/logs?component=storefront&tenant=&route=%2Fcart&limit=200");
        assert!(state.needs_answer());
        let logs = serde_json::from_str(include_str!("../../../console/tests/fixtures/logs.json")).unwrap();
        let target = state.target();
        // The answer to another page comes late.
        state.receive("/api/v1/overview", Ok(Value::Null));
        state.receive(&target, Ok(logs));
        let lines = screen(&mut state, 80, 24);
        assert_eq!(lines[0], "wasmetry top http://127.0.0.1:9464  5m  logs of storefront /cart");
        assert_eq!(lines[1], "00:00:01.125 ERROR  cart 42 has no items cart=42 kind=gift");
        // On a small screen, the newest logs are in view until the user scrolls.
        let many: Vec<Value> = (0..50).rev().map(|number| json!({"message": format!("log {number}")})).collect();
        state.receive(&target, Ok(json!({"logs": many})));
        assert!(screen(&mut state, 80, 12)[10].ends_with("log 49"));
        state.press(Key::Up);
        assert!(screen(&mut state, 80, 12)[10].ends_with("log 48"));
        state.press(Key::Esc);
        assert!(screen(&mut state, 80, 24)[2].starts_with("storefront"));
    }
}
