//! Months of the calendar, in UTC.

use std::fmt;
use std::str::FromStr;

use super::super::DAY;
use crate::Error;

/// A month from 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    year: u64,
    /// From 1 to 12.
    month: u64,
}

impl Month {
    /// Returns the last month that is over at a time in seconds since 1970.
    pub fn before(now: u64) -> Self {
        let days = now / DAY;
        // Years have at least 365 days, so this year or a later one is found first.
        let mut month = Self { year: (1970 + days / 365).min(9999), month: 12 };
        while month.start() + month.days() * DAY > now && month != (Self { year: 1970, month: 1 }) {
            month = month.previous();
        }
        month
    }

    fn previous(self) -> Self {
        match self.month {
            1 => Self { year: self.year - 1, month: 12 },
            month => Self { month: month - 1, ..self },
        }
    }

    /// Returns the time at which the month begins, in seconds since 1970.
    pub fn start(self) -> u64 {
        self.days_since_1970() * DAY
    }

    /// The days from 1970 to its first day.
    ///
    /// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
    fn days_since_1970(self) -> u64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let (era, of_era) = (year / 400, year % 400);
        let of_year = (153 * ((self.month + 9) % 12) + 2) / 5;
        let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        era * 146_097 + days - 719_468
    }

    /// The number of its days.
    pub fn days(self) -> u64 {
        let next = if self.month == 12 {
            Self { year: self.year + 1, month: 1 }
        } else {
            Self { month: self.month + 1, ..self }
        };
        next.days_since_1970() - self.days_since_1970()
    }

    /// Returns the date of a day, counted from 0.
    pub(super) fn day(self, number: u64) -> String {
        format!("{self}-{:02}", number + 1)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (year, month) = text.split_once('-')?;
            let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            let is_valid = year.len() == 4 && month.len() == 2 && is_number(year) && is_number(month);
            let found = is_valid.then(|| (year.parse().ok(), month.parse().ok()))?;
            let (year, month) = (found.0?, found.1?);
            ((1970..=9999).contains(&year) && (1..=12).contains(&month)).then_some(Self { year, month })
        };
        parse().ok_or_else(|| Error::Month(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_have_days() {
        let cases = [("1970-01", 0, 31), ("2000-02", 949_363_200, 29), ("2026-11", 1_793_491_200, 30)];
        for (text, start, days) in
            cases.into_iter().chain([("2100-02", 4_105_123_200, 28), ("2026-12", 1_796_083_200, 31)])
        {
            let month: Month = text.parse().unwrap();
            assert_eq!((month.start(), month.days(), month.to_string()), (start, days, text.to_owned()));
        }
        for text in ["", "2026", "2026-13", "2026-00", "26-01", "2026-1", "1969-12", "2026-11-01", "+026-01"] {
            assert!(text.parse::<Month>().unwrap_err().to_string().contains("such as `2026-11`"), "{text}");
        }
    }

    #[test]
    fn last_month_is_over() {
        let november: Month = "2026-11".parse().unwrap();
        let end = november.start() + 30 * DAY;
        assert_eq!(Month::before(end), november);
        assert_eq!(Month::before(end - 1).to_string(), "2026-10");
        assert_eq!(Month::before("2027-01".parse::<Month>().unwrap().start() + 5).to_string(), "2026-12");
        assert_eq!(Month::before(0).to_string(), "1970-01");
    }
}
