//! The daemon's log: one compact line for each event on standard error.
//!
//! Under systemd the journal gives times and wants priorities, so lines begin with `<N>`
//! (sd-daemon(3)) and carry no time. What may be logged at all is decided where it is logged.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::linux::fs::MetadataExt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Compact, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The environment variable with the filter: a level for the daemon itself (`debug`), or directives
/// such as `intercomd::signalling=trace,intercomd::rtc=debug`, added to the defaults.
pub const VARIABLE: &str = "INTERCOMD_LOG";

/// Others at warn. Those that speak through the crate `log` and not through `tracing`, as the WebRTC crates do, are heard at
/// no level: they print ICE passwords and descriptions. `tests/tidy.rs` sees to it that nothing bridges the two.
const OTHERS: &str = "warn";

/// Sets the log up, once for the process. A wrong filter is reported and left out.
pub fn init() {
    let wish = std::env::var(VARIABLE).unwrap_or_default();
    let (filter, fault) = filter(&wish);
    let place = if under_journal() { Place::Journal } else { Place::Stderr };
    let set = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Colours are a feature of the crate's that is left out; asked for without it, it panics.
        .with_ansi(false)
        .event_format(Lines { place })
        .try_init();
    if set.is_err() {
        tracing::debug!("the log is set up already");
    }
    if let Some(fault) = fault {
        tracing::warn!("{VARIABLE}={wish:?}: {fault}; use a level such as debug, or target=level");
    }
}

/// The filter for a wish, and what was wrong with the wish.
fn filter(wish: &str) -> (EnvFilter, Option<String>) {
    let wish = wish.trim();
    let text = if wish.is_empty() {
        format!("{OTHERS},intercomd=info")
    } else if wish.parse::<tracing::level_filters::LevelFilter>().is_ok() {
        format!("{OTHERS},intercomd={wish}")
    } else {
        format!("{OTHERS},intercomd=info,{wish}")
    };
    match EnvFilter::try_new(&text) {
        Ok(filter) => (filter, None),
        Err(why) => (filter("").0, Some(why.to_string())),
    }
}

/// Whether standard error is the journal. The variable alone is not enough: programs started from a
/// desktop inherit it with quite another standard error (systemd.exec(5), `$JOURNAL_STREAM`).
fn under_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(copy) = std::io::stderr().as_fd().try_clone_to_owned() else {
        return false;
    };
    File::from(copy)
        .metadata()
        .is_ok_and(|file| stream == format!("{}:{}", file.st_dev(), file.st_ino()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Stderr,
    Journal,
}

struct Lines {
    place: Place,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let format: Format<Compact> = Format::default().compact();
        match self.place {
            Place::Stderr => format.format_event(context, writer, event),
            Place::Journal => {
                write!(writer, "<{}>", priority(*event.metadata().level()))?;
                let format = format.without_time().with_level(false).with_ansi(false);
                format.format_event(context, writer, event)
            }
        }
    }
}

/// The syslog priority of a level; `trace` shares 7 with `debug`, there being none lower.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sheet(Arc<Mutex<Vec<u8>>>);

    impl Write for Sheet {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut sheet = self.0.lock().expect("no test panics here");
            sheet.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(place: Place, wish: &str) -> String {
        let sheet = Sheet::default();
        let copy = sheet.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(wish).0)
            .with_writer(move || copy.clone())
            .with_ansi(false)
            .event_format(Lines { place })
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("somebody is at the door");
            tracing::debug!("a detail");
            tracing::warn!(target: "hyper", "trouble");
            tracing::error!(target: "hyper", "worse");
            tracing::info!(target: "hyper", "chatter");
        });
        let sheet = sheet.0.lock().expect("no test panics here");
        String::from_utf8_lossy(&sheet).into_owned()
    }

    #[test]
    fn by_default_only_we_inform_and_others_warn() {
        let text = written(Place::Stderr, "");
        assert!(text.contains("INFO") && text.contains("somebody is at the door"));
        assert!(text.contains("trouble"));
        for quiet in ["a detail", "chatter"] {
            assert!(!text.contains(quiet), "{text}");
        }
    }

    #[test]
    fn a_bare_level_is_for_us_and_directives_are_added() {
        let text = written(Place::Stderr, "debug");
        assert!(text.contains("a detail") && !text.contains("chatter"));
        let text = written(Place::Stderr, "hyper=info");
        assert!(text.contains("chatter") && text.contains("somebody"));
    }

    #[test]
    fn journal_lines_begin_with_their_priority_and_carry_no_time() {
        let text = written(Place::Journal, "");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("<6>intercomd"), "{text}");
        assert!(lines[0].ends_with("somebody is at the door"), "{text}");
        assert!(lines[1].starts_with("<4>hyper"), "{text}");
        assert!(lines[2].starts_with("<3>hyper"), "{text}");
    }

    #[test]
    fn a_wrong_filter_is_reported_and_the_default_stands() {
        assert!(filter("a=b=c").1.is_some());
        assert!(filter("warn").1.is_none());
    }
}
