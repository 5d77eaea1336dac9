//! How loud a sound card plays and hears: its mixer, set when the card is opened.
//!
//! Per cent are those of `alsamixer`: they follow the ear where the card tells decibels, else its raw steps.

use alsa::mixer::{MilliBel, Mixer, Selem, SelemId};
use alsa::{Direction, Round};

use super::plan_sound::{MicrophonePlan, SpeakerPlan};
use crate::config::Board;

/// Mixer controls that set the speaker's loudness, the likeliest first.
const SPEAKER: &[&str] = &[
    "PCM",
    "Speaker",
    "Master",
    "Headphone",
    "Headset",
    "Digital",
    "Line Out",
    "HDMI",
    "Softmaster",
];
/// Mixer controls that set the microphone's gain, the likeliest first.
const MICROPHONE: &[&str] =
    &["Mic", "Capture", "Internal Mic", "Headset Mic", "Digital", "ADC", "PGA", "Line"];

/// Quieter than this many decibels below full is nothing at a door, and is not given a share of the scale.
const DEEPEST: f64 = 60.0;

/// What came of setting a loudness.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Loudness {
    /// Set; the control and how.
    Set(String),
    /// The card has nothing to set it with; says what it has.
    NoControl(String),
}

/// Sets the speaker's volume as the board says. Returns what came of it, in words; `None`: it is left as it is.
pub(super) fn of_speaker(board: &Board, plan: &SpeakerPlan) -> Option<String> {
    let settings = &board.speaker;
    let told = (plan.card.as_deref(), plan.is_real);
    of("volume", Direction::Playback, told, settings.volume, settings.control.as_deref())
}

/// Sets the microphone's gain as the board says. Returns what came of it, in words; `None`: it is left as it is.
pub(super) fn of_microphone(board: &Board, plan: &MicrophonePlan) -> Option<String> {
    let settings = &board.microphone;
    let told = (plan.card.as_deref(), plan.is_real);
    of("gain", Direction::Capture, told, settings.gain, settings.control.as_deref())
}

fn of(
    what: &str,
    direction: Direction,
    (card, is_real): (Option<&str>, bool),
    percent: Option<u8>,
    wanted: Option<&str>,
) -> Option<String> {
    let percent = percent.filter(|_| is_real)?;
    let Some(card) = card else {
        return Some(format!("{what}: not set, as no sound card is named"));
    };
    Some(match set(card, direction, wanted, percent) {
        Ok(Loudness::Set(words)) => format!("{what}: {words}"),
        Ok(Loudness::NoControl(words)) | Err(words) => {
            tracing::warn!(card, words, "the {what} is not set");
            format!("{what}: not set; {words}")
        }
    })
}

/// Sets a card's loudness to so many per cent, and switches the control on (off at 0).
///
/// # Errors
/// A sentence when the mixer cannot be used.
fn set(
    card: &str,
    direction: Direction,
    wanted: Option<&str>,
    percent: u8,
) -> Result<Loudness, String> {
    let told = |error: alsa::Error| format!("the mixer of {card} cannot be used: {error}");
    let mixer = Mixer::new(&format!("hw:CARD={card}"), false).map_err(told)?;
    let names: Vec<String> = mixer
        .iter()
        .filter_map(Selem::new)
        .filter(|control| has_volume(control, direction))
        .filter_map(|control| control.get_id().get_name().ok().map(str::to_owned))
        .collect();
    let Some(name) = choose(&names, direction, wanted) else {
        return Ok(Loudness::NoControl(no_control(&names, wanted)));
    };
    let Some(control) = mixer.find_selem(&SelemId::new(name, 0)) else {
        return Ok(Loudness::NoControl(no_control(&names, wanted)));
    };
    apply(&control, direction, percent).map_err(told)?;
    Ok(Loudness::Set(format!("{name} at {percent} %")))
}

fn has_volume(control: &Selem<'_>, direction: Direction) -> bool {
    match direction {
        Direction::Playback => control.has_playback_volume(),
        Direction::Capture => control.has_capture_volume(),
    }
}

/// The owner's choice, or the likeliest.
fn choose<'a>(names: &'a [String], direction: Direction, wanted: Option<&str>) -> Option<&'a str> {
    let known = match direction {
        Direction::Playback => SPEAKER,
        Direction::Capture => MICROPHONE,
    };
    let named = |wanted: &str| names.iter().find(|name| *name == wanted).map(String::as_str);
    match wanted {
        Some(wanted) => named(wanted),
        None => known.iter().find_map(|name| named(name)),
    }
}

fn no_control(names: &[String], wanted: Option<&str>) -> String {
    let there = match names {
        [] => "the card has no such control at all".to_owned(),
        names => format!("it has {}", names.join(", ")),
    };
    match wanted {
        Some(wanted) => format!("no control \"{wanted}\" on the card; {there}"),
        None => format!("none of the usual controls on the card; {there}"),
    }
}

fn apply(control: &Selem<'_>, direction: Direction, percent: u8) -> alsa::Result<()> {
    let (raw, decibels) = match direction {
        Direction::Playback => {
            (control.get_playback_volume_range(), control.get_playback_db_range())
        }
        Direction::Capture => (control.get_capture_volume_range(), control.get_capture_db_range()),
    };
    match level(percent, raw, (decibels.0.0, decibels.1.0)) {
        Level::Raw(value) => match direction {
            Direction::Playback => control.set_playback_volume_all(value)?,
            Direction::Capture => control.set_capture_volume_all(value)?,
        },
        Level::MilliBel(value) => match direction {
            Direction::Playback => control.set_playback_db_all(MilliBel(value), Round::Floor)?,
            Direction::Capture => control.set_capture_db_all(MilliBel(value), Round::Floor)?,
        },
    }
    let on = i32::from(percent > 0);
    match direction {
        Direction::Playback if control.has_playback_switch() => control.set_playback_switch_all(on),
        Direction::Capture if control.has_capture_switch() => control.set_capture_switch_all(on),
        _ => Ok(()),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Level {
    Raw(i64),
    /// Hundredths of a decibel.
    MilliBel(i64),
}

/// Where on a control's scale so many per cent are.
fn level(percent: u8, raw: (i64, i64), decibels: (i64, i64)) -> Level {
    let share = f64::from(percent.min(100)) / 100.0;
    let (least, most) = decibels;
    if percent == 0 || most <= least {
        return Level::Raw(raw.0 + ((raw.1 - raw.0) as f64 * share).round() as i64);
    }
    let span = (most - least) as f64 / 100.0;
    // A control of a small range, such as a gain of 20 dB, is even all the way.
    let below = match span <= 24.0 {
        true => span * (1.0 - share),
        false => -DEEPEST * share.log10(),
    };
    Level::MilliBel((most - (below * 100.0).round() as i64).max(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_cent_follow_the_ear_where_the_card_tells_decibels() {
        let range = (-10_239, 400);
        assert_eq!(level(100, (-10_239, 400), range), Level::MilliBel(400));
        assert_eq!(level(50, (0, 255), range), Level::MilliBel(400 - 1806));
        assert_eq!(level(1, (0, 255), range), Level::MilliBel(-10_239));
        assert_eq!(level(0, (0, 255), range), Level::Raw(0));
    }

    #[test]
    fn a_small_range_is_even_and_a_card_without_decibels_counts_steps() {
        assert_eq!(level(50, (0, 31), (0, 2000)), Level::MilliBel(1000));
        assert_eq!(level(50, (0, 30), (0, 0)), Level::Raw(15));
        assert_eq!(level(100, (2, 30), (0, 0)), Level::Raw(30));
    }

    #[test]
    fn the_likeliest_control_is_taken_and_a_named_one_or_none() {
        let names = ["Master", "PCM", "Beep"].map(str::to_owned);
        let choose = |wanted| choose(&names, Direction::Playback, wanted);
        assert_eq!(choose(None), Some("PCM"));
        assert_eq!(choose(Some("Beep")), Some("Beep"));
        assert_eq!(choose(Some("Speaker")), None);
        assert!(no_control(&names, Some("Speaker")).contains("it has Master, PCM, Beep"));
    }

    #[test]
    fn a_card_that_is_not_there_is_an_error_with_its_name() {
        let gone = set("nowhere", Direction::Playback, None, 50);
        assert!(gone.is_err_and(|why| why.contains("nowhere")));
    }
}
