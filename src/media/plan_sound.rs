//! What sound is captured and played with: board settings and what was found become pipeline text.
//!
//! Pure: looks at nothing itself and builds nothing. Pictures are planned in `plan.rs` and `plan_playback.rs`.

use super::found::{
    PcmLimits, Probe, SoundCard, alsa_name, found_cards, missing_element, plughw, quoted,
};
use super::plan::{Fragment, OUT, Part};
use crate::config::{Board, EchoCancel, Source};

/// What all sound inside is: the rate of Opus and of the echo canceller, one channel.
pub(super) const CAPS: &str = "audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=1";

/// From a decoder to the mixer.
pub(super) const TO_MIXER: &str = "audioconvert ! audioresample \
    ! capsfilter caps=\"audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=1\"";

/// The name of the voice processor in the microphone's text.
pub(super) const VOICE_PROCESSOR: &str = "voice-processor";

// When the encoder is late, the oldest sound is dropped here: delay in a talk is worse than a gap.
const SOUND_TO_ENCODER: &str = "queue name=microphone-queue leaky=downstream max-size-buffers=0 \
    max-size-bytes=0 max-size-time=60000000 ! audioconvert ! audioresample";

/// What the voice is without rumble, in words.
const RUMBLE: &str = "rumble removed";

/// The voice's encoder. `voice` rather than `restricted-lowdelay`: the latter saves 2.5 ms but has no in-band error correction
/// (RFC 6716 section 2.1.7), which phones on a bad radio link need more.
pub(super) const OPUS: &str = "opusenc name=encoder audio-type=voice frame-size=20 bitrate=32000 \
    bitrate-type=constrained-vbr inband-fec=true packet-loss-percentage=10 complexity=5";

/// Where the door's voice comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicrophonePlan {
    /// Pipeline text of the source.
    pub text: String,
    /// The source in words.
    pub label: String,
    /// The card whose mixer sets the gain, by ALSA's id.
    pub card: Option<String>,
    /// Whether a person can be heard by it: a card, or the board's own pipeline.
    pub is_real: bool,
}

/// Where remote sound goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeakerPlan {
    /// Pipeline text behind the mixer.
    pub text: String,
    /// The sink in words.
    pub label: String,
    /// The card whose mixer sets the volume, by ALSA's id.
    pub card: Option<String>,
    /// Whether it can be heard: a card, or the board's own pipeline.
    pub is_real: bool,
    /// A speaker is wanted and not there now; this stands in for it, silently.
    pub stands_in: bool,
}

/// What is done to the voice between the microphone and the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoicePlan {
    /// Pipeline text; `None`: the voice is left as it is.
    pub text: Option<String>,
    /// What is done, for the status; empty when nothing is.
    pub words: String,
    /// Why, in sentences.
    pub reasons: Vec<String>,
}

/// The door's voice, from its source to an encoder and its appsink.
pub(super) fn microphone(board: &Board, probe: &Probe, reasons: &mut Vec<String>) -> Part {
    match microphone_source(board, probe, reasons) {
        Err(part) => part,
        Ok(_) if !probe.has("opusenc") => Part::Missing(missing_element("opusenc")),
        Ok(source) => {
            let voice = voice(board, probe, &source);
            reasons.extend(voice.reasons);
            let processor = voice.text.map_or_else(String::new, |text| format!(" ! {text}"));
            Part::Ready(Fragment {
                text: format!(
                    "{} ! {SOUND_TO_ENCODER} ! {CAPS}{processor} ! {OPUS} ! {OUT}",
                    source.text
                ),
                source: match voice.words.is_empty() {
                    true => source.label,
                    false => format!("{} ({})", source.label, voice.words),
                },
                encoder: "opusenc".to_owned(),
                bitrate: 0,
                feed: None,
            })
        }
    }
}

/// Plans the processing of the voice. The text's element is called `voice-processor`; who builds it ties it to what
/// is played.
pub fn voice(board: &Board, probe: &Probe, source: &MicrophonePlan) -> VoicePlan {
    let settings = &board.microphone;
    let mut reasons = Vec::new();
    let none = |reason: Option<&str>| VoicePlan {
        text: None,
        words: String::new(),
        reasons: reason.map(str::to_owned).into_iter().collect(),
    };
    if !source.is_real {
        return none(None);
    }
    let speaker = speaker(board, probe);
    let echo = match settings.echo_cancel {
        EchoCancel::Off => {
            reasons.push("echo cancelling: off, as the board says".to_owned());
            false
        }
        EchoCancel::Auto if !speaker.is_real => {
            reasons
                .push(format!("echo cancelling: not needed, as the speaker is {}", speaker.label));
            false
        }
        EchoCancel::Auto if !probe.has("webrtcechoprobe") => {
            reasons.push(format!("echo cancelling: none; {}", missing_element("webrtcechoprobe")));
            false
        }
        EchoCancel::Auto => true,
    };
    let parts = [
        (echo, "echo cancelled"),
        (settings.noise_suppression, "noise reduced"),
        (settings.gain_control, "level kept"),
        (settings.high_pass, RUMBLE),
    ];
    // Opus takes rumble out of a voice by itself, whether it is asked to or not, and for less than a processor costs.
    if !(echo || settings.noise_suppression || settings.gain_control) {
        return VoicePlan {
            text: None,
            words: if settings.high_pass { RUMBLE.to_owned() } else { String::new() },
            reasons,
        };
    }
    if !probe.has("webrtcdsp") {
        let mut plan = none(None);
        plan.words = "not processed: no webrtcdsp".to_owned();
        plan.reasons.push(format!(
            "voice: echo, noise and level are left as they are; {} (Debian: gstreamer1.0-plugins-bad)",
            missing_element("webrtcdsp")
        ));
        return plan;
    }
    // `low`: enough for an echo nobody hears, and the visitor is still heard while both talk.
    let words: Vec<&str> = parts.iter().filter(|(on, _)| *on).map(|(_, words)| *words).collect();
    VoicePlan {
        text: Some(format!(
            "webrtcdsp name={VOICE_PROCESSOR} echo-cancel={echo} echo-suppression-level=low noise-suppression={} gain-control={} \
             high-pass-filter={}",
            settings.noise_suppression, settings.gain_control, settings.high_pass
        )),
        words: words.join(", "),
        reasons,
    }
}

/// Plans the source of the door's voice.
///
/// # Errors
/// The part as it is without one: off, or missing and why.
pub fn microphone_source(
    board: &Board,
    probe: &Probe,
    reasons: &mut Vec<String>,
) -> Result<MicrophonePlan, Part> {
    const TONE: &str =
        "audiotestsrc is-live=true wave=sine freq=660 volume=0.2 samplesperbuffer=480";
    let tone = || MicrophonePlan {
        text: TONE.to_owned(),
        label: "test tone".to_owned(),
        card: None,
        is_real: false,
    };
    let alsa = |device: &str, rate: Option<u32>, label: &str, card: Option<&str>| {
        if !probe.has("alsasrc") {
            return Err(Part::Missing(missing_element("alsasrc")));
        }
        Ok(MicrophonePlan {
            // On the system's clock its time stamps are the card's own word (`use-driver-timestamps`), so that sound keeps
            // its place whatever the card's pace. `skew` is for plugins of ALSA that say none.
            text: format!(
                "alsasrc device={} latency-time=10000 buffer-time=60000 provide-clock=false \
                 slave-method=skew{}",
                quoted(device),
                at_rate(rate)
            ),
            label: label.to_owned(),
            card: card.map(str::to_owned),
            is_real: true,
        })
    };
    let card = |card: &SoundCard| {
        let (device, rate) = own_rate(card, probe.sound_limits.records.get(&card.id));
        alsa(&device, rate, &card.name, Some(&card.id))
    };
    match &board.microphone.source {
        Source::Off => Err(Part::Off),
        Source::Test => Ok(tone()),
        Source::Pipeline(fragment) => {
            reasons.push("microphone: the board's own pipeline".to_owned());
            Ok(MicrophonePlan {
                text: fragment.trim().to_owned(),
                label: "own pipeline".to_owned(),
                card: None,
                is_real: true,
            })
        }
        Source::Device(wanted) => {
            if let Some(found) = card_meant(wanted, probe) {
                return card(found);
            }
            match alsa_name(wanted, probe) {
                Some(device) => alsa(&device, None, &device, card_of(&device)),
                None => Err(Part::Missing(format!(
                    "no sound card called \"{wanted}\"; {}",
                    found_cards(probe)
                ))),
            }
        }
        Source::Auto => match probe.sound_cards.iter().find(|card| card.records) {
            Some(found) => {
                reasons.push(format!("microphone: {} is the first card that records", found.name));
                card(found)
            }
            None if board.name == "sim" => {
                reasons.push("microphone: no card records, so the test tone".to_owned());
                Ok(tone())
            }
            None => Err(Part::Missing(format!("no card records; {}", found_cards(probe)))),
        },
    }
}

/// Where remote sound goes.
pub fn speaker(board: &Board, probe: &Probe) -> SpeakerPlan {
    // Paced by the clock, so that a door without a speaker behaves like one with a speaker.
    let counted = |why: &str, stands_in: bool| SpeakerPlan {
        text: "fakesink sync=true".to_owned(),
        label: format!("none, only counted ({why})"),
        card: None,
        is_real: false,
        stands_in,
    };
    let alsa = |device: &str, rate: Option<u32>, label: String, card: Option<&str>| {
        if !probe.has("alsasink") {
            return counted(&missing_element("alsasink"), false);
        }
        SpeakerPlan {
            // `resample`: the card is fed at its own pace. Leaps of the other methods would move the echo. Sound waits in the
            // element's buffer and as long again in the card's.
            text: format!(
                "audioconvert ! audioresample{} ! alsasink device={} latency-time=10000 \
                 buffer-time=30000 processing-deadline=0 provide-clock=false slave-method=resample",
                at_rate(rate),
                quoted(device)
            ),
            label,
            card: card.map(str::to_owned),
            is_real: true,
            stands_in: false,
        }
    };
    let card = |card: &SoundCard| {
        let (device, rate) = own_rate(card, probe.sound_limits.plays.get(&card.id));
        alsa(&device, rate, card.name.clone(), Some(&card.id))
    };
    match &board.speaker.source {
        Source::Off => counted("off, as the board says", false),
        Source::Test => counted("test", false),
        Source::Pipeline(fragment) => SpeakerPlan {
            text: format!("audioconvert ! audioresample ! {}", fragment.trim()),
            label: "own pipeline".to_owned(),
            card: None,
            is_real: true,
            stands_in: false,
        },
        Source::Device(wanted) => {
            if let Some(found) = card_meant(wanted, probe) {
                return card(found);
            }
            match alsa_name(wanted, probe) {
                Some(device) => alsa(&device, None, device.clone(), card_of(&device)),
                None => counted("the named card does not exist", true),
            }
        }
        Source::Auto => {
            let plays = || probe.sound_cards.iter().filter(|card| card.plays);
            // A card of an HDMI socket plays into nothing when no screen hangs on it.
            match plays().find(|card| !card.is_hdmi()).or_else(|| plays().next()) {
                Some(found) => card(found),
                None => counted("no card plays", board.name != "sim"),
            }
        }
    }
}

/// The card's ALSA name, and the rate to use it at. What a card does by itself is converted to once, by GStreamer;
/// ALSA converts only for cards that could not be asked.
fn own_rate(card: &SoundCard, limits: Option<&PcmLimits>) -> (String, Option<u32>) {
    match limits {
        Some(limits) if limits.usable => {
            let rate = limits.rates.first().copied().unwrap_or(limits.nearest);
            (format!("hw:CARD={}", card.id), Some(rate))
        }
        _ => (plughw(card), None),
    }
}

fn at_rate(rate: Option<u32>) -> String {
    rate.map_or_else(String::new, |rate| format!(" ! audio/x-raw,rate={rate}"))
}

/// The card the owner means by its id, its name, or a name of ALSA's for its first device, as `intercomd devices` gives
/// it. Only what the first device does by itself is known: ALSA's other names go through as they are.
fn card_meant<'a>(wanted: &str, probe: &'a Probe) -> Option<&'a SoundCard> {
    let id = card_of_first_device(wanted);
    probe.sound_cards.iter().find(|card| card.answers_to(wanted) || id == Some(card.id.as_str()))
}

fn card_of_first_device(name: &str) -> Option<&str> {
    let (kind, rest) = name.split_once(':')?;
    let device = rest.split_once(',').map_or("0", |(_, device)| device);
    let is_first = matches!(kind, "hw" | "plughw") && matches!(device, "0" | "DEV=0");
    card_of(name).filter(|_| is_first)
}

/// The card's id in one of ALSA's own names, such as `plughw:CARD=panel,DEV=0`.
fn card_of(device: &str) -> Option<&str> {
    let (kind, rest) = device.split_once(':')?;
    if !matches!(kind, "hw" | "plughw" | "sysdefault" | "default" | "dmix" | "dsnoop") {
        return None;
    }
    let id = rest.split(',').next()?;
    Some(id.strip_prefix("CARD=").unwrap_or(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::found::ELEMENTS;

    fn machine() -> Probe {
        let card = |id: &str| SoundCard {
            id: id.to_owned(),
            name: format!("Card {id}"),
            records: true,
            plays: true,
            ..SoundCard::default()
        };
        Probe {
            sound_cards: vec![card("vc4hdmi0"), card("panel")],
            ..Probe::with_elements(ELEMENTS)
        }
    }

    fn board(microphone: Source, speaker: Source) -> Board {
        let mut board =
            crate::config::built_in_board("sim").expect("the simulated board is built in");
        (board.microphone.source, board.speaker.source) = (microphone, speaker);
        board
    }

    fn text(board: &Board, probe: &Probe) -> (String, Vec<String>) {
        let mut reasons = Vec::new();
        match microphone(board, probe, &mut reasons) {
            Part::Ready(fragment) => (fragment.text, reasons),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_echo_is_cancelled_between_a_real_microphone_and_a_real_speaker_only() {
        let probe = machine();
        let own = || Source::Pipeline("mine".to_owned());
        for (microphone, speaker, cancels) in [
            (Source::Auto, Source::Auto, true),
            (own(), Source::Auto, true),
            (own(), own(), true),
            (Source::Auto, Source::Off, false),
            (Source::Auto, Source::Test, false),
        ] {
            let (text, _) = text(&board(microphone, speaker), &probe);
            assert_eq!(text.contains("echo-cancel=true"), cancels, "{text}");
            assert!(text.contains("noise-suppression=true"), "{text}");
        }
        let (text, _) = text(&board(Source::Test, Source::Auto), &probe);
        assert!(!text.contains("webrtcdsp"), "the test tone is left as it is");
    }

    #[test]
    fn each_part_of_the_processing_can_be_switched_off_and_all_of_it_leaves_none() {
        let mut board = board(Source::Auto, Source::Auto);
        board.microphone.echo_cancel = EchoCancel::Off;
        board.microphone.gain_control = false;
        let (planned, reasons) = text(&board, &machine());
        assert!(planned.contains("echo-cancel=false"), "{planned}");
        assert!(planned.contains("noise-suppression=true gain-control=false"));
        assert!(reasons.iter().any(|reason| reason.contains("as the board says")), "{reasons:?}");
        board.microphone.noise_suppression = false;
        assert!(!text(&board, &machine()).0.contains("webrtcdsp"), "not for rumble alone");
        let Part::Ready(fragment) = microphone(&board, &machine(), &mut Vec::new()) else {
            panic!("no microphone")
        };
        assert!(fragment.source.ends_with("(rumble removed)"), "{}", fragment.source);
        board.microphone.high_pass = false;
        let Part::Ready(fragment) = microphone(&board, &machine(), &mut Vec::new()) else {
            panic!("no microphone")
        };
        assert!(!fragment.source.contains("rumble"), "{}", fragment.source);
    }

    #[test]
    fn without_the_canceller_sound_goes_on_and_the_reason_names_the_package() {
        let mut probe = machine();
        probe.elements.remove("webrtcdsp");
        let (planned, reasons) = text(&board(Source::Auto, Source::Auto), &probe);
        assert!(!planned.contains("webrtcdsp"));
        assert!(
            reasons.iter().any(|reason| reason.contains("gstreamer1.0-plugins-bad")),
            "{reasons:?}"
        );
    }

    #[test]
    fn a_card_is_used_at_its_own_rate_and_converted_to_once() {
        let mut probe = machine();
        let board = board(Source::Device("panel".to_owned()), Source::Device("panel".to_owned()));
        assert!(speaker(&board, &probe).text.contains("plughw:CARD=panel"), "nobody could ask it");
        let limits =
            |rates: &[u32]| PcmLimits { usable: true, rates: rates.to_vec(), nearest: 44_100 };
        for (rates, rate) in [(&[48_000, 44_100][..], 48_000), (&[44_100], 44_100), (&[], 44_100)] {
            probe.sound_limits.plays.insert("panel".to_owned(), limits(rates));
            probe.sound_limits.records.insert("panel".to_owned(), limits(rates));
            let planned = speaker(&board, &probe).text;
            let caps = format!("audio/x-raw,rate={rate} ! alsasink device=\"hw:CARD=panel\"");
            assert!(planned.contains(&caps), "{planned}");
            let (planned, _) = text(&board, &probe);
            assert!(planned.contains("alsasrc device=\"hw:CARD=panel\""), "{planned}");
            assert!(planned.contains(&format!("! audio/x-raw,rate={rate} !")), "{planned}");
        }
        let strange = PcmLimits { usable: false, ..limits(&[48_000]) };
        probe.sound_limits.plays.insert("panel".to_owned(), strange);
        assert!(speaker(&board, &probe).text.contains("plughw:CARD=panel"));
    }

    #[test]
    fn a_card_named_as_the_listing_advises_is_used_at_its_own_rate_too() {
        let mut probe = machine();
        let limits = PcmLimits { usable: true, rates: vec![44_100], nearest: 44_100 };
        probe.sound_limits.plays.insert("panel".to_owned(), limits.clone());
        probe.sound_limits.records.insert("panel".to_owned(), limits);
        let both = |name: &str| {
            let device = || Source::Device(name.to_owned());
            let board = board(device(), device());
            (text(&board, &probe).0, speaker(&board, &probe))
        };
        for name in
            ["plughw:CARD=panel", "hw:CARD=panel", "plughw:CARD=panel,DEV=0", "hw:panel,0", "panel"]
        {
            let (microphone, speaker) = both(name);
            let own = "alsasrc device=\"hw:CARD=panel\"";
            assert!(microphone.starts_with(own), "{name}: {microphone}");
            assert!(microphone.contains("! audio/x-raw,rate=44100 !"), "{name}: {microphone}");
            let own = "audio/x-raw,rate=44100 ! alsasink device=\"hw:CARD=panel\"";
            assert!(speaker.text.contains(own), "{name}: {}", speaker.text);
            assert_eq!(speaker.card.as_deref(), Some("panel"), "{name}");
        }
        // Of these devices nothing is known, and of the last not even the card.
        for name in
            ["plughw:CARD=panel,DEV=1", "hw:panel,1", "sysdefault:CARD=panel", "hw:CARD=other"]
        {
            let (microphone, speaker) = both(name);
            let as_named = format!("device=\"{name}\"");
            assert!(microphone.contains(&as_named), "{microphone}");
            assert!(speaker.text.contains(&as_named), "{}", speaker.text);
            assert!(!microphone.contains("rate=44100"), "{microphone}");
        }
    }

    #[test]
    fn a_speaker_that_is_missing_is_stood_in_for_and_one_that_is_off_is_not() {
        let none = Probe { sound_cards: Vec::new(), ..machine() };
        let mut real = board(Source::Auto, Source::Auto);
        real.name = "rpi4".to_owned();
        assert!(speaker(&real, &none).stands_in);
        assert!(!speaker(&board(Source::Auto, Source::Off), &none).stands_in);
        assert!(speaker(&board(Source::Auto, Source::Device("panel".to_owned())), &none).stands_in);
    }

    #[test]
    fn the_card_behind_an_alsa_name_is_known() {
        assert_eq!(card_of("plughw:CARD=panel,DEV=0"), Some("panel"));
        assert_eq!(card_of("hw:panel"), Some("panel"));
        assert_eq!(card_of("pulse"), None);
        assert_eq!(card_of("null:1"), None);
    }
}
