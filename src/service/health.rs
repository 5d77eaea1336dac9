//! How the door is, in one word with its reasons.
//!
//! Pure: read off a status, so that `status`, metrics and the report say the same.

use serde::{Deserialize, Serialize};

use super::control::{MediaStatus, Status, UplinkStatus};

/// The word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// All is as it should be.
    #[default]
    Good,
    /// Who rings reaches somebody; something else is out of order.
    Degraded,
    /// A visitor who rings reaches nobody.
    Down,
}

impl Grade {
    /// All of them, best first.
    pub const ALL: [Self; 3] = [Self::Good, Self::Degraded, Self::Down];

    /// The name used in JSON, in metrics and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

/// How the door is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// In one word.
    pub word: Grade,
    /// Why it is not `good`, each in a sentence for people; the worst first.
    pub reasons: Vec<String>,
}

/// Judges a status.
pub fn of(status: &Status) -> Health {
    let mut found: Vec<(Grade, String)> = Vec::new();
    let faulty = |part: &str| status.faults.iter().any(|fault| fault == part);
    if faulty("button") {
        let words = "the button is held or its line is lost: a visitor cannot ring".to_owned();
        found.push((Grade::Down, words));
    }
    // Without `arm` a line is down between calls and no fault.
    let is_down = |uplink: &&UplinkStatus| {
        uplink.state == "refused" || faulty(&format!("line {}", uplink.name))
    };
    // Those who look in have lines of their own, over which nobody is called.
    let calling = || status.uplinks.iter().filter(|uplink| !uplink.name.ends_with("-looks"));
    let lines = if calling().next().is_some() && calling().all(|uplink| is_down(&uplink)) {
        Grade::Down
    } else {
        Grade::Degraded
    };
    for uplink in &status.uplinks {
        let advice = uplink.advice.as_deref();
        if is_down(&uplink) {
            let why = advice.unwrap_or("it cannot be reached");
            found.push((lines, format!("no line to {}: {why}", uplink.name)));
        } else if let Some(advice) = advice {
            found.push((Grade::Degraded, format!("line {}: {advice}", uplink.name)));
        }
    }
    if faulty("camera") {
        found.push((Grade::Degraded, format!("no picture: the camera ({})", status.media.camera)));
    } else if status.media.capture.starts_with("broken") {
        found.push((Grade::Degraded, format!("no picture: {}", status.media.capture)));
    }
    found.extend(quiet_parts(&status.media).map(|words| (Grade::Degraded, words)));
    for hook in &status.hooks {
        if let Some(error) = &hook.error {
            found.push((Grade::Degraded, format!("{} is not told: {error}", hook.name)));
        }
    }
    if let Some(publish) = &status.publish
        && let Some(why) = &publish.error
    {
        found.push((Grade::Degraded, format!("the media server gets no picture: {why}")));
    }
    if status.counters.get("violations").is_some_and(|count| *count > 0) {
        let words = "the program was in a state that must not be; the journal has it: please \
                     report it with `intercomd ctl diagnose`";
        found.push((Grade::Degraded, words.to_owned()));
    }
    found.sort_by_key(|(grade, _)| std::cmp::Reverse(*grade));
    Health {
        word: found.first().map_or(Grade::Good, |(grade, _)| *grade),
        reasons: found.into_iter().map(|(_, words)| words).collect(),
    }
}

/// Microphone, speaker and display that are named in the configuration, or were found, and do not work. The only source
/// are the media room's words for people. A part that is off is none of them, and neither is one that nobody named and
/// that is not there: most doors have a socket for a display and nothing in it.
fn quiet_parts(media: &MediaStatus) -> impl Iterator<Item = String> {
    let MediaStatus { microphone, speaker, display, .. } = media;
    let unnamed = ["none (off, ", "none (starting)", "none (no card records"];
    let deaf = microphone.starts_with("none (")
        && !unnamed.iter().any(|words| microphone.starts_with(words));
    let mute = speaker.contains(": not playing (")
        || speaker == "none, only counted (the named card does not exist)";
    let blind =
        display.starts_with("none: ") || display.starts_with("none (no display is plugged into ");
    [
        deaf.then(|| format!("nobody hears the visitor: the microphone ({microphone})")),
        mute.then(|| format!("the visitor hears nobody: the speaker ({speaker})")),
        blind.then(|| format!("the visitor sees nothing: the display ({display})")),
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::super::control::HookStatus;
    use super::*;

    fn uplink(name: &str, state: &str, advice: Option<&str>) -> UplinkStatus {
        UplinkStatus {
            name: name.to_owned(),
            state: state.to_owned(),
            advice: advice.map(str::to_owned),
            ..UplinkStatus::default()
        }
    }

    #[test]
    fn a_line_for_looks_makes_no_door_better_or_worse_than_degraded() {
        let looks = || uplink("lan-looks", "joined", None);
        let down = of(&door(vec![uplink("service", "refused", None), looks()], &[]));
        assert_eq!(down.word, Grade::Down, "a visitor reaches nobody");
        let refused = uplink("service-looks", "refused", Some("allow it"));
        let health = of(&door(vec![uplink("service", "connected", None), refused], &[]));
        assert_eq!(health.word, Grade::Degraded);
    }

    #[test]
    fn a_fault_of_the_program_is_told() {
        let mut status = door(vec![uplink("lan", "connected", None)], &[]);
        assert_eq!(of(&status).word, Grade::Good);
        status.counters.insert("violations".to_owned(), 1);
        let health = of(&status);
        assert_eq!(health.word, Grade::Degraded);
        assert!(health.reasons[0].contains("ctl diagnose"), "{health:?}");
    }

    fn door(uplinks: Vec<UplinkStatus>, faults: &[&str]) -> Status {
        let faults = faults.iter().map(|fault| (*fault).to_owned()).collect();
        Status { uplinks, faults, ..Status::default() }
    }

    fn words(status: &Status) -> (Grade, usize) {
        let health = of(status);
        (health.word, health.reasons.len())
    }

    #[test]
    fn a_door_with_its_lines_up_is_good_and_so_is_one_that_is_not_armed() {
        let lan = uplink("lan", "connected", None);
        assert_eq!(words(&door(vec![lan.clone()], &[])), (Grade::Good, 0));
        let unarmed = uplink("service", "offline", None);
        assert_eq!(words(&door(vec![lan, unarmed], &[])), (Grade::Good, 0));
    }

    #[test]
    fn one_line_of_two_is_degraded_and_none_is_down() {
        let (lan, service) = (uplink("lan", "connected", None), uplink("service", "offline", None));
        let two = || vec![lan.clone(), service.clone()];
        assert_eq!(words(&door(two(), &["line service"])), (Grade::Degraded, 1));
        assert_eq!(words(&door(two(), &["line service", "line lan"])), (Grade::Down, 2));
        let refused = uplink("service", "refused", Some("copy the key again"));
        let health = of(&door(vec![refused], &[]));
        assert_eq!(health.word, Grade::Down);
        assert_eq!(health.reasons, ["no line to service: copy the key again"]);
    }

    #[test]
    fn a_lost_button_is_down_and_stands_before_a_lost_camera() {
        let lan = uplink("lan", "connected", None);
        let health = of(&door(vec![lan], &["camera", "button"]));
        assert_eq!(health.word, Grade::Down);
        assert!(health.reasons[0].contains("button") && health.reasons[1].contains("camera"));
    }

    #[test]
    fn a_hook_that_fails_and_a_line_with_advice_are_degraded() {
        let lan = uplink("lan", "connected", Some("the key lacks presence"));
        let failing = HookStatus {
            name: "webhook owner.example".into(),
            error: Some("it answers with HTTP 500".into()),
            ..HookStatus::default()
        };
        let status = Status { hooks: vec![failing], ..door(vec![lan], &[]) };
        assert_eq!(words(&status), (Grade::Degraded, 2));
    }

    #[test]
    fn a_microphone_a_speaker_or_a_display_that_does_not_work_is_degraded_with_what_it_says() {
        let with = |microphone: &str, speaker: &str, display: &str| {
            let mut status = door(vec![uplink("lan", "joined", None)], &[]);
            status.media.microphone = microphone.into();
            status.media.speaker = speaker.into();
            status.media.display = display.into();
            of(&status)
        };
        let (card, screen) = ("USB Audio (hw:CARD=Device)", "screen on HDMI-A-1 (vc4, 800x480)");
        for (microphone, speaker, display, word) in [
            ("none (no sound card called \"Door\"; there are none)", card, screen, "microphone"),
            ("none (own pipeline ended)", card, screen, "microphone"),
            (card, "USB Audio: not playing (device is gone)", screen, "speaker"),
            (card, "none, only counted (the named card does not exist)", screen, "speaker"),
            (card, card, "none: HDMI-A-1: the display was unplugged; trying again", "display"),
            (card, card, "none (no display is plugged into HDMI-A-1)", "display"),
        ] {
            let health = with(microphone, speaker, display);
            assert_eq!((health.word, health.reasons.len()), (Grade::Degraded, 1), "{health:?}");
            let words = if word == "speaker" { speaker } else { display };
            let words = if word == "microphone" { microphone } else { words };
            assert!(health.reasons[0].contains(&format!("the {word} ({words})")), "{health:?}");
        }
        for (microphone, speaker, display) in [
            (card, card, screen),
            ("", "", ""),
            ("off", "off", "closed until there is a picture"),
            (
                "none (off, as the board says)",
                "none, only counted (off, as the board says)",
                "none, only counted (off, as the board says)",
            ),
            (
                "none (no card records; there are none)",
                "none, only counted (no card plays)",
                "none (no display is plugged in)",
            ),
            ("test tone", "none, only counted (test)", "none, only counted (no screen is there)"),
        ] {
            let health = with(microphone, speaker, display);
            assert_eq!(health.word, Grade::Good, "{health:?}");
        }
    }

    #[test]
    fn a_camera_that_broke_in_this_call_is_degraded_before_it_is_a_fault() {
        let mut status = door(vec![uplink("lan", "joined", None)], &[]);
        status.media.capture = "broken: the camera is gone".into();
        assert_eq!(words(&status), (Grade::Degraded, 1));
    }
}
