//! What the screen at the door has to tell, and what it shows for it.
//!
//! Pure: the daemon says which scene it is, the caller tells the time; the drawing is done in `draw.rs`.

use std::time::Duration;

use crate::config::{DisplaySettings, Idle};

/// How long the visitor reads that nobody came; then the next one finds the door as always.
pub const SORRY: Duration = Duration::from_secs(20);

/// Where things stand, as the visitor has to know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scene {
    /// Nobody is at the door.
    #[default]
    Idle,
    /// The button was pressed; the door is entering its channel.
    Calling,
    /// Phones are being called; nobody has answered.
    Ringing,
    /// A phone says that it rings.
    Seen,
    /// Somebody talks with the visitor.
    Talking {
        /// Their name, where it is known: see [`name_in`].
        name: Option<String>,
    },
    /// The way to the phone is being repaired.
    Reconnecting,
    /// Nobody answered. After [`SORRY`] the screen shows what it shows when idle.
    NobodyAnswered {
        /// What the owner has to say to that.
        words: Option<String>,
    },
    /// Nobody is called at this hour. After [`SORRY`] as for `NobodyAnswered`.
    Quiet {
        /// What the owner has to say to that.
        words: Option<String>,
    },
    /// The signalling cannot be reached; the chime inside still works.
    LineDown {
        /// What the owner has to say to that.
        words: Option<String>,
    },
    /// Nobody rang, and somebody looks through the camera.
    Looking,
    /// The door itself does not work.
    Fault,
}

impl Scene {
    /// The word for it in the log and in `status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Calling => "calling",
            Self::Ringing => "ringing",
            Self::Seen => "seen",
            Self::Talking { .. } => "talking",
            Self::Reconnecting => "reconnecting",
            Self::NobodyAnswered { .. } => "nobody-answered",
            Self::Quiet { .. } => "quiet",
            Self::LineDown { .. } => "line-down",
            Self::Looking => "looking",
            Self::Fault => "fault",
        }
    }

    /// Whether the phone's picture belongs on the screen.
    pub fn has_picture(&self) -> bool {
        match self {
            Self::Talking { .. } | Self::Reconnecting => true,
            Self::Idle
            | Self::Calling
            | Self::Ringing
            | Self::Seen
            | Self::NobodyAnswered { .. }
            | Self::Quiet { .. }
            | Self::LineDown { .. }
            | Self::Looking
            | Self::Fault => false,
        }
    }

    /// Whether a picture of the phone's may be kept for what comes next: it can come before the news that somebody
    /// answered.
    pub fn may_keep_picture(&self) -> bool {
        self.has_picture() || matches!(self, Self::Ringing | Self::Seen)
    }

    /// Whether it is news that is over after [`SORRY`].
    fn is_news(&self) -> bool {
        matches!(self, Self::NobodyAnswered { .. } | Self::Quiet { .. })
    }
}

/// The texts a slate can carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The time, as `HH:MM`, and how to ring.
    Clock(String),
    /// How to ring.
    Press,
    /// Being called.
    Calling,
    /// Called, not answered.
    Ringing,
    /// A phone rings.
    Seen,
    /// Answered, no picture yet.
    Answered(Option<String>),
    /// Being repaired, no picture to show.
    Reconnecting,
    /// Nobody came.
    NobodyAnswered,
    /// Nobody is called at this hour.
    Quiet,
    /// What somebody inside, or the owner, has to say.
    Note(String),
    /// An address for the camera of a phone.
    Code(String),
    /// Somebody looks through the camera.
    Looking,
    /// Only the chime works.
    LineDown,
    /// Nothing works.
    Fault,
}

/// A line over the phone's picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caption {
    /// Who it is, in a corner.
    Name(String),
    /// That the picture stands still, across the middle.
    Reconnecting,
    /// What somebody inside has to say, below.
    Note(String),
}

/// What is on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The device is closed.
    Closed,
    /// Black, backlight off.
    Dark,
    /// A still picture with a text.
    Slate(Message),
    /// The phone's picture as it comes.
    Picture(Option<Caption>),
}

/// What there is to show at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment<'a> {
    /// Where things stand.
    pub scene: &'a Scene,
    /// The time since the scene began.
    pub age: Duration,
    /// Whether this call has brought a picture yet.
    pub has_picture: bool,
    /// A text for the visitor.
    pub note: Option<&'a str>,
    /// An address for the camera of a phone.
    pub code: Option<&'a str>,
    /// The time of day as `HH:MM`.
    pub clock: &'a str,
}

/// Chooses what is shown.
pub fn shown(moment: &Moment<'_>, settings: &DisplaySettings) -> Shown {
    let Moment { scene, age, has_picture, note, code, clock } = *moment;
    if scene.has_picture() && has_picture {
        return Shown::Picture(match (scene, note) {
            _ if !settings.slates => None,
            (_, Some(note)) => Some(Caption::Note(note.to_owned())),
            (scene, None) => caption(scene),
        });
    }
    if !settings.slates {
        return Shown::Closed;
    }
    // Nobody's who rings: it is asked for by hand while the door starts.
    if let (Some(code), Scene::Idle | Scene::LineDown { .. } | Scene::Fault) = (code, scene) {
        return Shown::Slate(Message::Code(code.to_owned()));
    }
    if let Some(note) = note {
        return Shown::Slate(Message::Note(note.to_owned()));
    }
    slate(scene, age, clock, settings)
}

fn caption(scene: &Scene) -> Option<Caption> {
    match scene {
        Scene::Reconnecting => Some(Caption::Reconnecting),
        Scene::Talking { name } => name.clone().map(Caption::Name),
        _ => None,
    }
}

fn slate(scene: &Scene, age: Duration, clock: &str, settings: &DisplaySettings) -> Shown {
    let idle = || match settings.idle {
        Idle::Clock => Shown::Slate(Message::Clock(clock.to_owned())),
        Idle::Text => Shown::Slate(Message::Press),
        Idle::Off => Shown::Dark,
    };
    Shown::Slate(match scene {
        Scene::Idle => return idle(),
        scene if scene.is_news() && age >= SORRY => return idle(),
        Scene::NobodyAnswered { words: Some(words) }
        | Scene::Quiet { words: Some(words) }
        | Scene::LineDown { words: Some(words) } => Message::Note(words.clone()),
        Scene::NobodyAnswered { words: None } => Message::NobodyAnswered,
        Scene::Calling => Message::Calling,
        Scene::Ringing => Message::Ringing,
        Scene::Seen => Message::Seen,
        Scene::Quiet { words: None } => Message::Quiet,
        Scene::Talking { name } => Message::Answered(name.clone()),
        Scene::Reconnecting => Message::Reconnecting,
        Scene::LineDown { words: None } => Message::LineDown,
        Scene::Looking => Message::Looking,
        Scene::Fault => Message::Fault,
    })
}

/// When what is shown changes although nobody says so, counted from now; `None`: never. `to_next_minute` is what
/// is left of the minute on the clock.
pub fn changes_in(
    scene: &Scene,
    age: Duration,
    to_next_minute: Duration,
    settings: &DisplaySettings,
) -> Option<Duration> {
    let idles = match scene {
        Scene::Idle => true,
        scene if scene.is_news() && age < SORRY => return settings.slates.then(|| SORRY - age),
        scene => scene.is_news(),
    };
    (idles && settings.slates && settings.idle == Idle::Clock).then_some(to_next_minute)
}

/// The most characters of a name that are shown.
const LONGEST_NAME: usize = 40;

/// A person's name, from what the token of their phone says (`peerMetadata`): `name`, else `displayName`. Cut to
/// 40 characters, and without control characters.
pub fn name_in(metadata: &serde_json::Value) -> Option<String> {
    let text = ["name", "displayName"].iter().find_map(|key| metadata.get(key)?.as_str())?;
    let clean: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_NAME).collect();
    let words: Vec<&str> = clean.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(idle: Idle) -> DisplaySettings {
        DisplaySettings { idle, ..DisplaySettings::default() }
    }

    fn moment(scene: &Scene, has_picture: bool) -> Moment<'_> {
        Moment { scene, age: Duration::ZERO, has_picture, note: None, code: None, clock: "12:34" }
    }

    fn plain(scene: Scene, has_picture: bool) -> Shown {
        shown(&moment(&scene, has_picture), &settings(Idle::Clock))
    }

    #[test]
    fn the_address_of_the_page_is_shown_while_nobody_rings_only() {
        let with_code = |scene: &Scene| {
            let now = Moment { code: Some("https://door/"), ..moment(scene, false) };
            shown(&now, &settings(Idle::Off))
        };
        let code = Shown::Slate(Message::Code("https://door/".to_owned()));
        assert_eq!(with_code(&Scene::Idle), code);
        assert_eq!(with_code(&Scene::Ringing), Shown::Slate(Message::Ringing));
    }

    #[test]
    fn a_text_for_the_visitor_goes_before_everything_but_lets_the_picture_be_seen() {
        let with_note = |scene: &Scene, has_picture, settings: &DisplaySettings| {
            shown(&Moment { note: Some("Coming"), ..moment(scene, has_picture) }, settings)
        };
        let clock = settings(Idle::Clock);
        let on_slate = Shown::Slate(Message::Note("Coming".to_owned()));
        for scene in [Scene::Idle, Scene::Ringing, Scene::NobodyAnswered { words: None }] {
            assert_eq!(with_note(&scene, false, &clock), on_slate);
        }
        let talking = Scene::Talking { name: Some("Anna".to_owned()) };
        assert_eq!(with_note(&talking, false, &clock), on_slate);
        let over = Shown::Picture(Some(Caption::Note("Coming".to_owned())));
        assert_eq!(with_note(&talking, true, &clock), over);
        let bare = DisplaySettings { slates: false, ..DisplaySettings::default() };
        assert_eq!(with_note(&talking, true, &bare), Shown::Picture(None));
    }

    #[test]
    fn between_calls_it_shows_what_the_owner_wants() {
        let idle = |idle| {
            let now = Moment { clock: "07:05", ..moment(&Scene::Idle, false) };
            shown(&now, &settings(idle))
        };
        assert_eq!(idle(Idle::Clock), Shown::Slate(Message::Clock("07:05".to_owned())));
        assert_eq!(idle(Idle::Text), Shown::Slate(Message::Press));
        assert_eq!(idle(Idle::Off), Shown::Dark);
    }

    #[test]
    fn a_picture_is_shown_in_a_talk_only() {
        for scene in [
            Scene::Idle,
            Scene::Calling,
            Scene::Ringing,
            Scene::Seen,
            Scene::NobodyAnswered { words: None },
            Scene::Quiet { words: None },
            Scene::LineDown { words: None },
            Scene::Looking,
            Scene::Fault,
        ] {
            let shown = plain(scene.clone(), true);
            assert!(matches!(shown, Shown::Slate(_)), "{scene:?}: {shown:?}");
        }
        let talking = |name: Option<&str>| Scene::Talking { name: name.map(str::to_owned) };
        assert_eq!(plain(talking(None), true), Shown::Picture(None));
        let anna = Some(Caption::Name("Anna".to_owned()));
        assert_eq!(plain(talking(Some("Anna")), true), Shown::Picture(anna));
        let answered = Message::Answered(Some("Anna".to_owned()));
        assert_eq!(plain(talking(Some("Anna")), false), Shown::Slate(answered));
    }

    #[test]
    fn a_repair_is_told_over_the_last_picture_or_on_a_slate() {
        let over = Shown::Picture(Some(Caption::Reconnecting));
        assert_eq!(plain(Scene::Reconnecting, true), over);
        assert_eq!(plain(Scene::Reconnecting, false), Shown::Slate(Message::Reconnecting));
    }

    #[test]
    fn that_nobody_came_is_told_for_a_while_and_then_the_door_waits_as_before() {
        let clock = settings(Idle::Clock);
        let at = |age| {
            shown(&Moment { age, ..moment(&Scene::NobodyAnswered { words: None }, false) }, &clock)
        };
        assert_eq!(at(SORRY - Duration::from_millis(1)), Shown::Slate(Message::NobodyAnswered));
        assert_eq!(at(SORRY), Shown::Slate(Message::Clock("12:34".to_owned())));
        let next = |scene: Scene, age| changes_in(&scene, age, Duration::from_secs(33), &clock);
        let left = Duration::from_secs(5);
        assert_eq!(next(Scene::NobodyAnswered { words: None }, SORRY - left), Some(left));
        assert_eq!(
            next(Scene::NobodyAnswered { words: None }, SORRY),
            Some(Duration::from_secs(33))
        );
        assert_eq!(next(Scene::LineDown { words: None }, SORRY), None, "a state, not news");
    }

    #[test]
    fn only_a_clock_changes_by_itself() {
        let next = |idle| changes_in(&Scene::Idle, SORRY, Duration::from_secs(9), &settings(idle));
        assert_eq!(next(Idle::Clock), Some(Duration::from_secs(9)));
        assert_eq!(next(Idle::Text), None);
        assert_eq!(next(Idle::Off), None);
    }

    #[test]
    fn without_slates_the_device_is_open_for_pictures_only() {
        let bare = DisplaySettings { slates: false, ..DisplaySettings::default() };
        let talking = Scene::Talking { name: Some("Anna".to_owned()) };
        let now = |scene, has| shown(&moment(scene, has), &bare);
        assert_eq!(now(&Scene::Idle, false), Shown::Closed);
        assert_eq!(now(&talking, false), Shown::Closed);
        assert_eq!(now(&talking, true), Shown::Picture(None));
        assert_eq!(changes_in(&Scene::Idle, SORRY, SORRY, &bare), None);
    }

    #[test]
    fn a_name_is_taken_from_the_token_and_made_harmless() {
        let name = |value| name_in(&value);
        assert_eq!(name(json!({"name": " Anna\n\tB. "})).as_deref(), Some("Anna B."));
        assert_eq!(name(json!({"displayName": "Otto"})).as_deref(), Some("Otto"));
        assert_eq!(name(json!({"name": "x".repeat(500)})).map(|name| name.len()), Some(40));
        assert_eq!(name(json!({"name": "\u{1}"})), None);
        assert_eq!(name(json!({"name": 7})), None);
        assert_eq!(name(json!("Anna")), None);
    }
}
