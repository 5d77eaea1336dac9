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
    /// Phones have been told; nobody has answered.
    Ringing,
    /// Somebody talks with the visitor.
    Talking {
        /// Their name, where it is known: see [`name_in`].
        name: Option<String>,
    },
    /// The way to the phone is being repaired.
    Reconnecting,
    /// Nobody answered. After [`SORRY`] the screen shows what it shows when idle.
    NobodyAnswered,
    /// The signalling cannot be reached; the chime inside still works.
    LineDown,
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
            Self::Talking { .. } => "talking",
            Self::Reconnecting => "reconnecting",
            Self::NobodyAnswered => "nobody-answered",
            Self::LineDown => "line-down",
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
            | Self::NobodyAnswered
            | Self::LineDown
            | Self::Fault => false,
        }
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
    /// Told, not answered.
    Ringing,
    /// Answered, no picture yet.
    Answered(Option<String>),
    /// Being repaired, no picture to show.
    Reconnecting,
    /// Nobody came.
    NobodyAnswered,
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

/// Chooses what is shown. `age` is the time since the scene began, `clock` the time of day as `HH:MM`;
/// `has_picture` says whether this call has brought a picture yet.
pub fn shown(
    scene: &Scene,
    age: Duration,
    has_picture: bool,
    clock: &str,
    settings: &DisplaySettings,
) -> Shown {
    if scene.has_picture() && has_picture {
        return Shown::Picture(match scene {
            _ if !settings.slates => None,
            Scene::Reconnecting => Some(Caption::Reconnecting),
            Scene::Talking { name } => name.clone().map(Caption::Name),
            _ => None,
        });
    }
    if !settings.slates {
        return Shown::Closed;
    }
    let idle = || match settings.idle {
        Idle::Clock => Shown::Slate(Message::Clock(clock.to_owned())),
        Idle::Text => Shown::Slate(Message::Press),
        Idle::Off => Shown::Dark,
    };
    Shown::Slate(match scene {
        Scene::Idle => return idle(),
        Scene::NobodyAnswered if age >= SORRY => return idle(),
        Scene::NobodyAnswered => Message::NobodyAnswered,
        Scene::Calling => Message::Calling,
        Scene::Ringing => Message::Ringing,
        Scene::Talking { name } => Message::Answered(name.clone()),
        Scene::Reconnecting => Message::Reconnecting,
        Scene::LineDown => Message::LineDown,
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
        Scene::NobodyAnswered if age < SORRY => return settings.slates.then(|| SORRY - age),
        Scene::NobodyAnswered => true,
        _ => false,
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

    fn plain(scene: Scene, has_picture: bool) -> Shown {
        shown(&scene, Duration::ZERO, has_picture, "12:34", &settings(Idle::Clock))
    }

    #[test]
    fn between_calls_it_shows_what_the_owner_wants() {
        let idle = |idle| shown(&Scene::Idle, Duration::ZERO, false, "07:05", &settings(idle));
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
            Scene::NobodyAnswered,
            Scene::LineDown,
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
        let at = |age| shown(&Scene::NobodyAnswered, age, false, "12:34", &clock);
        assert_eq!(at(SORRY - Duration::from_millis(1)), Shown::Slate(Message::NobodyAnswered));
        assert_eq!(at(SORRY), Shown::Slate(Message::Clock("12:34".to_owned())));
        let next = |scene: Scene, age| changes_in(&scene, age, Duration::from_secs(33), &clock);
        let left = Duration::from_secs(5);
        assert_eq!(next(Scene::NobodyAnswered, SORRY - left), Some(left));
        assert_eq!(next(Scene::NobodyAnswered, SORRY), Some(Duration::from_secs(33)));
        assert_eq!(next(Scene::LineDown, SORRY), None, "a state, not news");
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
        let now = |scene, has| shown(scene, Duration::ZERO, has, "12:34", &bare);
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
