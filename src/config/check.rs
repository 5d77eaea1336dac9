//! Rules for a board that need more than one key, or knowledge of the things behind the keys.
//!
//! Only judges; the values are read and put together in `parts`.

use std::collections::BTreeMap;

use super::board::{Active, CameraSettings, EncoderSettings};
use super::board::{Bias, LineName, PanelKind, Source};
use super::notes::{Notes, nearest};
use super::parts::{Draft, LineDraft, WrittenLine};
use super::problem::{At, Place, wrong};
use super::reader::human;

/// The hardware encoder of the Raspberry Pi up to 4.
const PI_ENCODER: &str = "v4l2h264enc";

/// Below this rate the Pi's encoder stops answering.
const PI_ENCODER_SLOWEST: u32 = 10;

/// Elements known to encode H.264 in GStreamer.
const ENCODERS: &[&str] = &[
    PI_ENCODER,
    "x264enc",
    "openh264enc",
    "vah264enc",
    "vah264lpenc",
    "mpph264enc",
    "nvh264enc",
    "qsvh264enc",
];

/// Checks the wiring: complete, safe, and no line used twice.
pub(super) fn wiring(draft: &Draft, notes: &Notes) {
    relay(draft, notes);
    twice(draft, notes);
    let Some(panel) = &draft.panel else { return };
    let button = &draft.button;
    if panel.value == PanelKind::Gpio && !button.line.wanted() {
        notes.warn(&panel.place, "no button is wired; only `intercomd ctl press` can ring");
    }
    let level = button.line.active.as_ref().map(|active| active.value);
    let idle_is_pressed = match button.bias.as_ref().map(|bias| bias.value) {
        Some(Bias::PullUp) => level == Some(Active::High),
        Some(Bias::PullDown) => level.is_none_or(|level| level == Active::Low),
        Some(Bias::Off) | None => false,
    };
    if let (Some(bias), true) = (&button.bias, idle_is_pressed) {
        notes.warn(
            &bias.place,
            "this resistor pulls towards the level that means pressed; \
             unless a stronger one outside holds the line, it will ring by itself",
        );
    }
}

/// A relay opens a door: every limit has to be written down by somebody.
fn relay(draft: &Draft, notes: &Notes) {
    let relay = &draft.relay;
    let Some(table) = relay.line.missing.as_ref().filter(|_| relay.line.wanted()) else {
        return;
    };
    let need = |key: &str, fix: &str| {
        if !relay.written.contains(key) {
            notes.problem(&table.sibling(key), wrong("is missing", fix));
        }
    };
    need(
        "safe",
        "write safe = \"off\": the contact is released whenever intercomd is not in control, \
             so wire the lock to stay shut then",
    );
    need("pulse", "write how long one release lasts, such as \"3s\"");
    need("max_pulse", "write the longest a release may ever last, such as \"10s\"");
    if let (Some(pulse), Some(longest)) = (&relay.pulse, &relay.max_pulse)
        && pulse.value > longest.value
    {
        notes.problem(
            &pulse.place,
            wrong(
                format!(
                    "is {}, longer than max_pulse, which is {}",
                    human(pulse.value),
                    human(longest.value)
                ),
                "shorten pulse or raise max_pulse",
            ),
        );
    }
}

struct Used<'a> {
    line: &'a LineName,
    chip: Option<&'a str>,
    place: &'a Place,
}

fn twice(draft: &Draft, notes: &Notes) {
    let all =
        [Some(&draft.button.line), Some(&draft.relay.line), draft.lamp.line(), Some(&draft.chime)];
    let used: Vec<Used<'_>> = all.into_iter().flatten().filter_map(used).collect();
    for (number, later) in used.iter().enumerate() {
        if later.chip.is_none() && matches!(later.line, LineName::Offset(_)) {
            notes.warn(
                later.place,
                "a number without `chip` counts on gpiochip0, which need not be the same chip \
                 after an update; name the line, or the chip too",
            );
        }
        let earlier = used[..number].iter().find(|earlier| same(earlier, later));
        if let Some(earlier) = earlier {
            notes.problem(
                later.place,
                wrong(
                    format!("is {}, which {} uses too", later.line, earlier.place),
                    "give each its own line",
                ),
            );
        }
    }
}

fn used(draft: &LineDraft) -> Option<Used<'_>> {
    let at = draft.line.as_ref()?;
    let WrittenLine::Line(line) = &at.value else {
        return None;
    };
    Some(Used { line, chip: draft.chip.as_ref().map(|chip| chip.value.as_str()), place: &at.place })
}

fn same(a: &Used<'_>, b: &Used<'_>) -> bool {
    let line = match (a.line, b.line) {
        (LineName::Name(a), LineName::Name(b)) => a == b,
        (LineName::Offset(a), LineName::Offset(b)) => a == b,
        // On the boards we know, GPIOn is number n; a mixture cannot be told apart elsewhere.
        (LineName::Name(name), LineName::Offset(offset))
        | (LineName::Offset(offset), LineName::Name(name)) => *name == format!("GPIO{offset}"),
    };
    line && may_be_one_chip(a.chip, b.chip)
}

/// A chip has a label and a name; when one of each is written they may mean the same chip.
fn may_be_one_chip(a: Option<&str>, b: Option<&str>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return true;
    };
    let bare = |chip: &str| chip.trim_start_matches("/dev/").to_owned();
    let by_name = |chip: &str| bare(chip).starts_with("gpiochip");
    bare(a) == bare(b) || by_name(a) != by_name(b)
}

/// Checks picture size and rate against each other and the encoders.
pub(super) fn picture(draft: &Draft, notes: &Notes) {
    let defaults = EncoderSettings::default().try_;
    let encoders = draft.encoders.as_ref().map_or(&defaults, |list| &list.value);
    if let Some(size) = &draft.size {
        if size.value.iter().any(|side| side % 2 != 0) {
            let [width, height] = size.value.map(|side| side & !1);
            notes.problem(
                &size.place,
                wrong(
                    "holds an odd number, which H.264 pictures cannot have",
                    format!("write [{width}, {height}]"),
                ),
            );
        } else if encoders.first().is_some_and(|name| name == PI_ENCODER) && size.value[0] % 32 != 0
        {
            notes.warn(
                &size.place,
                "the Raspberry Pi's encoder wants a width that is a multiple of 32; \
                 others cost an extra copy of each picture",
            );
        }
    }
    let rate = draft.rate.as_ref().map_or(CameraSettings::default().rate, |rate| rate.value);
    let only_pi = !encoders.is_empty() && encoders.iter().all(|name| name == PI_ENCODER);
    let pi_first = encoders.first().is_some_and(|name| name == PI_ENCODER) && !only_pi;
    if let (Some(at), true, true) = (&draft.rate, rate < PI_ENCODER_SLOWEST, pi_first) {
        let why = format!(
            "{PI_ENCODER} hangs below {PI_ENCODER_SLOWEST}; while it is used, pictures are sent twice"
        );
        notes.warn(&at.place, &why);
    }
    if let (Some(at), true, true) = (&draft.rate, rate < PI_ENCODER_SLOWEST, only_pi) {
        notes.problem(
            &at.place,
            wrong(
                format!("is {rate}, at which {PI_ENCODER} hangs"),
                format!("write {PI_ENCODER_SLOWEST} or more, or add \"x264enc\" to encoder.try"),
            ),
        );
    }
}

/// Checks how controls of a camera are called.
pub(super) fn controls(written: Vec<(String, At<i64>)>, notes: &Notes) -> BTreeMap<String, i64> {
    let mut controls = BTreeMap::new();
    for (name, At { value, place }) in written {
        let lower = name.to_ascii_lowercase();
        let words: Vec<&str> = lower
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let shown = words.join("_");
        if shown.is_empty() {
            let fix = "write it as `intercomd devices` shows it";
            notes.problem(&place, wrong("is not the name of a control", fix));
        } else if shown != name {
            let fix = format!("write {shown}, as `intercomd devices` shows it");
            notes.problem(&place, wrong("is not how a control is called", fix));
        } else {
            controls.insert(name, value);
        }
    }
    controls
}

/// Checks the list of encoders.
pub(super) fn encoders(list: At<Vec<At<String>>>, notes: &Notes) -> Option<At<Vec<String>>> {
    if list.value.is_empty() {
        notes.problem(
            &list.place,
            wrong(
                "is an empty list",
                "name at least one encoder, such as \"x264enc\", or delete the line",
            ),
        );
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    let mut good = true;
    for At { value: name, place } in list.value {
        let known = ENCODERS.contains(&name.as_str());
        let element =
            name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter));
        if names.contains(&name) {
            notes.warn(&place, &format!("\"{name}\" stands in the list twice"));
            continue;
        }
        if !element || !name.contains("264") {
            let fix = match nearest(&name, ENCODERS.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("use one of: {}", ENCODERS.join(", ")),
            };
            notes.problem(&place, wrong(format!("names \"{name}\", not an H.264 encoder"), fix));
            good = false;
        } else if !known {
            let near = nearest(&name, ENCODERS.iter().copied())
                .map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
            notes.warn(&place, &format!("\"{name}\" is not an encoder known here{near}"));
        }
        names.push(name);
    }
    good.then_some(At { value: names, place: list.place })
}

/// Checks the name of an LED: one entry of /sys/class/leds, not a path.
pub(super) fn led(written: At<String>, notes: &Notes) -> Option<At<String>> {
    let name = &written.value;
    if !name.contains('/') && !name.starts_with('.') {
        return Some(written);
    }
    let last = name.trim_end_matches("/brightness").rsplit('/').next();
    let fix = match last.filter(|last| !last.is_empty() && !last.starts_with('.')) {
        Some(last) => format!("write the name alone, as `ls /sys/class/leds` shows it: \"{last}\""),
        None => "write a name that `ls /sys/class/leds` shows".to_owned(),
    };
    notes.problem(&written.place, wrong(format!("is \"{name}\", not the name of an LED"), fix));
    None
}

/// Turns a friendly choice into a source, and warns of names that change by themselves.
pub(super) fn source(written: At<String>, notes: &Notes) -> Option<At<Source>> {
    let word = written.value.as_str();
    let source = match word {
        "auto" => Source::Auto,
        "off" => Source::Off,
        "test" => Source::Test,
        _ => {
            let words = ["auto", "off", "test"];
            let lower = word.to_lowercase();
            if let Some(meant) = words.iter().find(|known| **known == lower) {
                let what = format!("is \"{word}\"");
                notes.problem(&written.place, wrong(what, format!("did you mean \"{meant}\"?")));
                return None;
            }
            let slip = words.iter().find(|known| strsim::damerau_levenshtein(&lower, known) == 1);
            if let Some(meant) = slip {
                notes.warn(
                    &written.place,
                    &format!(
                        "\"{word}\" is taken as the name of a device; did you mean \"{meant}\"?"
                    ),
                );
            }
            if let Some(better) = moving_name(word) {
                notes.warn(
                    &written.place,
                    &format!("\"{word}\" can become another device after a restart; {better}"),
                );
            }
            if word.contains(" ! ") {
                notes.warn(
                    &written.place,
                    "looks like a GStreamer fragment; those are written with `pipeline`",
                );
            }
            Source::Device(word.to_owned())
        }
    };
    Some(written.map(|_| source))
}

/// Advice for names that count devices in the order in which they were found.
fn moving_name(name: &str) -> Option<&'static str> {
    let numbered = |prefix: &str| {
        name.strip_prefix(prefix)
            .and_then(|rest| rest.chars().next())
            .is_some_and(|letter| letter.is_ascii_digit())
    };
    if numbered("/dev/video") {
        return Some("a name from /dev/v4l/by-id stays");
    }
    (numbered("hw:") || numbered("plughw:"))
        .then_some("a name such as plughw:CARD=panel stays; `intercomd devices` lists them")
}

/// Checks what can be checked of a GStreamer fragment without GStreamer.
pub(super) fn fragment(written: At<String>, notes: &Notes) -> Option<At<Source>> {
    let trimmed = written.value.trim();
    if trimmed.split('!').any(|element| element.trim().is_empty()) {
        notes.problem(
            &written.place,
            wrong(
                "has a `!` with nothing on one side",
                "write elements joined by `!`, and none at the ends: intercomd adds those",
            ),
        );
        return None;
    }
    Some(written.map(|text| Source::Pipeline(text.trim().to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn at<T>(value: T) -> At<T> {
        let place = Place::new(Arc::from("f"), Some(1), "k");
        At { value, place }
    }

    fn verdict(notes: Notes) -> String {
        match notes.finish() {
            Ok(warnings) => warnings.join("\n"),
            Err(problems) => problems.to_string(),
        }
    }

    #[test]
    fn chips_that_may_be_one_are_taken_for_one() {
        assert!(may_be_one_chip(None, None));
        assert!(may_be_one_chip(None, Some("pinctrl-rp1")));
        assert!(may_be_one_chip(Some("gpiochip0"), Some("/dev/gpiochip0")));
        assert!(may_be_one_chip(Some("gpiochip0"), Some("pinctrl-rp1")));
        assert!(!may_be_one_chip(Some("gpiochip0"), Some("gpiochip1")));
        assert!(!may_be_one_chip(Some("pinctrl-rp1"), Some("expander")));
    }

    #[test]
    fn friendly_words_and_device_names_become_sources() {
        let notes = Notes::default();
        let read = |word: &str| source(at(word.to_owned()), &notes).map(|at| at.value);
        assert_eq!(read("auto"), Some(Source::Auto));
        assert_eq!(read("off"), Some(Source::Off));
        assert_eq!(read("test"), Some(Source::Test));
        let name = "plughw:CARD=panel";
        assert_eq!(read(name), Some(Source::Device(name.to_owned())));
        assert_eq!(verdict(notes), "");
    }

    #[test]
    fn a_capital_or_a_slip_in_a_friendly_word_is_noticed() {
        let notes = Notes::default();
        assert_eq!(source(at("Auto".to_owned()), &notes), None);
        assert!(verdict(notes).contains("did you mean \"auto\"?"));
        let notes = Notes::default();
        assert!(source(at("atuo".to_owned()), &notes).is_some());
        assert!(verdict(notes).contains("did you mean \"auto\"?"));
    }

    #[test]
    fn names_that_move_are_warned_of() {
        for name in ["/dev/video0", "hw:1,0", "plughw:2"] {
            assert!(moving_name(name).is_some(), "{name}");
        }
        for name in ["/dev/v4l/by-id/usb-cam", "plughw:CARD=panel", "hw:panel", "UVC"] {
            assert!(moving_name(name).is_none(), "{name}");
        }
    }

    #[test]
    fn fragments_need_something_on_both_sides_of_each_mark() {
        let notes = Notes::default();
        for bad in ["! a", "a !", "a ! ! b", "!"] {
            assert_eq!(fragment(at(bad.to_owned()), &notes), None, "{bad}");
        }
        let good = fragment(at(" v4l2src ! jpegdec ".to_owned()), &notes);
        assert_eq!(good.map(|at| at.value), Some(Source::Pipeline("v4l2src ! jpegdec".to_owned())));
    }

    #[test]
    fn encoders_of_other_codecs_are_refused_and_strange_ones_warned_of() {
        let list = |name: &str| at(vec![at(name.to_owned())]);
        let notes = Notes::default();
        assert!(encoders(list("x265enc"), &notes).is_none());
        assert!(verdict(notes).contains("did you mean \"x264enc\"?"));
        let notes = Notes::default();
        assert!(encoders(list("x264 enc"), &notes).is_none());
        let notes = Notes::default();
        assert!(encoders(list("vendor264enc"), &notes).is_some());
        assert!(verdict(notes).contains("not an encoder known here"));
        let notes = Notes::default();
        assert!(encoders(at(Vec::new()), &notes).is_none());
    }
}
