//! The tables `[ops.receivers]` and `[ops.working-hours]`: who is notified, how, and when.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::address::host_and_port;
use super::{optional_text, text};

/// The table `[ops.receivers]`: where Alertmanager sends its notifications.
///
/// No secret is in the table or in a generated file: Alertmanager reads each from a file of
/// [`secrets`](Self::secrets).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct Receivers {
    /// The directory on Alertmanager's machine with the files of secrets: `pagerduty-routing-key`,
    /// `slack-url`, `page-url`, `chat-url` and `smtp-password`, of which only those in use are
    /// needed.
    #[serde(deserialize_with = "text")]
    pub secrets: String,
    /// The service that pages somebody for critical alerts.
    pub page: Pager,
    /// The chat that receives critical alerts and warnings.
    pub chat: Chat,
    /// The channel of Slack, for an app whose webhook may choose it.
    #[serde(deserialize_with = "optional_text")]
    pub slack_channel: Option<String>,
    /// The mail address that receives facts, and alerts that no route has.
    #[serde(deserialize_with = "address")]
    pub mail_to: String,
    /// The mail address of the sender.
    #[serde(deserialize_with = "address")]
    pub mail_from: String,
    /// The mail server, with its port.
    #[serde(deserialize_with = "host_and_port")]
    pub smtp_server: String,
    /// The user name at the mail server, whose password is in `smtp-password`. Without it, mail is
    /// sent without a login.
    #[serde(deserialize_with = "optional_text")]
    pub smtp_user: Option<String>,
    /// `true` if mail is sent over TLS only.
    pub smtp_tls: bool,
}

impl Default for Receivers {
    fn default() -> Self {
        Self {
            secrets: "/etc/alertmanager/secrets".to_owned(),
            page: Pager::Pagerduty,
            chat: Chat::Slack,
            slack_channel: None,
            mail_to: "operations@localhost".to_owned(),
            mail_from: "alertmanager@localhost".to_owned(),
            smtp_server: "localhost:25".to_owned(),
            smtp_user: None,
            smtp_tls: true,
        }
    }
}

impl Receivers {
    /// Returns the path of a secret.
    pub(crate) fn secret(&self, name: &str) -> String {
        format!("{}/{name}", self.secrets.trim_end_matches('/'))
    }
}

/// A service that pages somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Pager {
    /// PagerDuty, with the integration key in `pagerduty-routing-key`.
    Pagerduty,
    /// A webhook of any other service, with its URL in `page-url`.
    Webhook,
}

/// A chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Chat {
    /// Slack, with the URL of an incoming webhook in `slack-url`.
    Slack,
    /// A webhook of any other chat, with its URL in `chat-url`.
    Webhook,
}

/// The table `[ops.working-hours]`: warnings and facts wait until they begin. Critical alerts are
/// never muted.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[non_exhaustive]
pub struct WorkingHours {
    /// The days.
    #[serde(deserialize_with = "days")]
    pub days: Vec<Day>,
    /// The minute of the day at which they begin.
    #[serde(deserialize_with = "minute")]
    pub start: u16,
    /// The minute of the day at which they end, after `start`.
    #[serde(deserialize_with = "minute")]
    pub end: u16,
    /// The time zone, by its name in the IANA database.
    #[serde(deserialize_with = "time_zone")]
    pub time_zone: String,
}

impl Default for WorkingHours {
    fn default() -> Self {
        let days = vec![Day::Monday, Day::Tuesday, Day::Wednesday, Day::Thursday, Day::Friday];
        Self { days, start: 8 * 60, end: 18 * 60, time_zone: "UTC".to_owned() }
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the documentation")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Day {
    /// The days of a week.
    pub const ALL: [Self; 7] =
        [Self::Monday, Self::Tuesday, Self::Wednesday, Self::Thursday, Self::Friday, Self::Saturday, Self::Sunday];

    /// The name in Alertmanager's configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Monday => "monday",
            Self::Tuesday => "tuesday",
            Self::Wednesday => "wednesday",
            Self::Thursday => "thursday",
            Self::Friday => "friday",
            Self::Saturday => "saturday",
            Self::Sunday => "sunday",
        }
    }
}

/// Working hours, as the table has them: the order of the times is checked when all keys are read.
pub(super) fn working_hours<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<WorkingHours>, D::Error> {
    let hours = WorkingHours::deserialize(deserializer)?;
    if hours.start >= hours.end {
        let [start, end] = [hours.start, hours.end].map(TimeOfDay);
        return Err(D::Error::custom(format!(
            "`start` ({start}) is not before `end` ({end}); working hours that pass midnight cannot be set"
        )));
    }
    Ok(Some(hours))
}

/// A minute of the day, which is written as `08:00`.
pub(crate) struct TimeOfDay(pub(crate) u16);

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Day>, D::Error> {
    let mut days = Vec::<Day>::deserialize(deserializer)?;
    days.sort();
    days.dedup();
    if days.is_empty() {
        return Err(D::Error::custom("expected at least one day, such as `[\"monday\"]`"));
    }
    Ok(days)
}

fn minute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let time = String::deserialize(deserializer)?;
    let number = |digits: &str| match digits.as_bytes() {
        [b'0'..=b'9', b'0'..=b'9'] => digits.parse::<u16>().ok(),
        _ => None,
    };
    let parsed = time.split_once(':').and_then(|(hour, minute)| Some((number(hour)?, number(minute)?)));
    match parsed {
        Some((hour, minute)) if (hour < 24 && minute < 60) || (hour, minute) == (24, 0) => Ok(hour * 60 + minute),
        _ => Err(D::Error::custom("expected a time of day in quotes, such as `\"08:00\"`, up to `\"24:00\"`")),
    }
}

fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let zone = text(deserializer)?;
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c))
    };
    if zone.split('/').all(is_name) {
        return Ok(zone);
    }
    Err(D::Error::custom("expected the name of a time zone, such as `Europe/Berlin` or `UTC`"))
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let address = text(deserializer)?;
    let is_plain = !address.chars().any(|c| c.is_whitespace() || "<>,;\"{}".contains(c));
    match address.split_once('@') {
        Some((name, host)) if is_plain && !name.is_empty() && !host.is_empty() && !host.contains('@') => Ok(address),
        _ => Err(D::Error::custom("expected a mail address, such as `operations@example.com`")),
    }
}
