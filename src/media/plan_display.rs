//! What the screen at the door is made of: board settings and what was found become a device and pipeline text.
//!
//! Pure: looks at nothing itself and builds nothing; `screen_stage.rs` does the building. What is shown when is
//! decided in `scene.rs`.

use super::found::{Probe, Screen, missing_element, quoted};
use super::plan_playback::Sink;
use crate::config::{DisplaySettings, Rotation, Source};

/// Where the phone's pictures go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Surface {
    /// Nowhere: they are counted.
    Counted(Sink),
    /// Straight into the owner's own pipeline.
    Direct(Sink),
    /// To a screen that stays open and shows slates too.
    Screen(Device),
}

impl Surface {
    /// For a person.
    pub fn words(&self) -> String {
        match self {
            Self::Counted(sink) | Self::Direct(sink) => sink.label.clone(),
            Self::Screen(Device::Kms { connector: Some(name) }) => format!("screen on {name}"),
            Self::Screen(Device::Kms { connector: None }) => {
                "the first screen with a display on it".to_owned()
            }
            Self::Screen(Device::Window) => "window".to_owned(),
            Self::Screen(Device::Framebuffer(node)) => node.clone(),
            Self::Screen(Device::Own(_)) => "own pipeline".to_owned(),
        }
    }
}

/// A screen that stays open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// The kernel's own, on this connector or the first with a display on it.
    Kms {
        /// Such as `HDMI-A-1`.
        connector: Option<String>,
    },
    /// A window on the desktop.
    Window,
    /// A frame buffer node, such as `/dev/fb0`.
    Framebuffer(String),
    /// The owner's own pipeline.
    Own(String),
}

/// A connector as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// Such as `HDMI-A-1`.
    pub name: String,
    /// The kernel's number for it.
    pub id: u32,
    /// Whether a display is plugged in.
    pub connected: bool,
    /// Width and height of its preferred mode in pixels; `None` when it has no mode.
    pub mode: Option<[u32; 2]>,
}

/// Whether this board may have a screen that stays open, whatever is found.
pub fn may_have_screen(settings: &DisplaySettings) -> bool {
    match &settings.source {
        Source::Off => false,
        Source::Pipeline(_) => settings.slates,
        Source::Auto | Source::Test | Source::Device(_) => true,
    }
}

/// Chooses where the phone's pictures go.
pub fn surface(settings: &DisplaySettings, probe: &Probe) -> Surface {
    let counted = |why: &str| {
        Surface::Counted(Sink {
            text: match probe.has("fakevideosink") {
                true => "fakevideosink sync=false".to_owned(),
                false => "fakesink sync=false".to_owned(),
            },
            label: format!("none, only counted ({why})"),
        })
    };
    let windows = probe.windows && probe.has("autovideosink");
    let kms = |connector: Option<String>| match probe.has("kmssink") {
        true => Surface::Screen(Device::Kms { connector }),
        false => counted(&missing_element("kmssink")),
    };
    match &settings.source {
        Source::Off => counted("off, as the board says"),
        Source::Pipeline(fragment) if settings.slates => {
            Surface::Screen(Device::Own(fragment.trim().to_owned()))
        }
        Source::Pipeline(fragment) => Surface::Direct(Sink {
            text: format!("videoconvert ! {}", fragment.trim()),
            label: "own pipeline".to_owned(),
        }),
        Source::Test | Source::Auto if windows => Surface::Screen(Device::Window),
        Source::Test => counted("no window system"),
        // A connector without a display counts: one may be plugged in.
        Source::Auto if probe.screens.is_empty() => counted("no screen is there"),
        Source::Auto => kms(None),
        Source::Device(node) if node.starts_with("/dev/") => match probe.has("fbdevsink") {
            true => Surface::Screen(Device::Framebuffer(node.clone())),
            false => counted(&missing_element("fbdevsink")),
        },
        Source::Device(connector) => kms(Some(connector.clone())),
    }
}

/// Whether the kernel says that no display is plugged in where one is wanted. Where it says nothing, the device has to be
/// asked.
pub fn is_unplugged(screens: &[Screen], wanted: Option<&str>) -> bool {
    let mut places = screens
        .iter()
        .filter(|screen| wanted.is_none_or(|wanted| screen.connector == wanted))
        .peekable();
    places.peek().is_some() && places.all(|screen| !screen.connected)
}

/// Picks the connector to be used: the named one, else the first with a display on it.
///
/// # Errors
/// Why there is none, in words.
pub fn pick<'c>(
    connectors: &'c [Connector],
    wanted: Option<&str>,
) -> Result<&'c Connector, String> {
    let usable = |connector: &Connector| connector.connected && connector.mode.is_some();
    let Some(wanted) = wanted else {
        return connectors
            .iter()
            .find(|connector| usable(connector))
            .ok_or_else(|| format!("no display is plugged in; {}", list(connectors)));
    };
    let Some(found) = connectors.iter().find(|connector| connector.name == wanted) else {
        return Err(format!("there is no connector {wanted}; {}", list(connectors)));
    };
    match (found.connected, found.mode) {
        (false, _) => Err(format!("no display is plugged into {wanted}")),
        (true, None) => Err(format!("the display on {wanted} offers no mode")),
        (true, Some(_)) => Ok(found),
    }
}

fn list(connectors: &[Connector]) -> String {
    let names: Vec<&str> = connectors.iter().map(|connector| connector.name.as_str()).collect();
    match names.is_empty() {
        true => "the kernel has no connector at all".to_owned(),
        false => format!("connectors: {}", names.join(", ")),
    }
}

/// The size a picture has before it is turned onto a panel of this size.
pub fn upright(rotation: Rotation, [width, height]: [u32; 2]) -> [u32; 2] {
    match rotation {
        Rotation::None | Rotation::Half => [width, height],
        Rotation::Right | Rotation::Left => [height, width],
    }
}

/// The pipeline of a screen, from an appsrc called `in` to its sink. Elements with names: `screen-size` holds the caps of
/// everything behind it, `screen-caption` writes over pictures (where text can be written at all), `screen-sink` is the sink
/// of a connector. `connector` and `panel` are the connector's number and the panel's own size.
pub fn screen(
    device: &Device,
    connector: u32,
    panel: [u32; 2],
    settings: &DisplaySettings,
    probe: &Probe,
) -> String {
    let rotation = match device {
        Device::Own(_) => Rotation::None,
        Device::Kms { .. } | Device::Window | Device::Framebuffer(_) => settings.rotation,
    };
    let [width, height] = upright(rotation, panel);
    // Both in one pass where there is such an element, since GStreamer 1.22.
    let scale = match probe.has("videoconvertscale") {
        true => "videoconvertscale add-borders=true",
        false => "videoconvert ! videoscale add-borders=true",
    };
    let caption = match probe.has("textoverlay") && settings.slates {
        true => {
            "! textoverlay name=screen-caption silent=true auto-resize=false draw-shadow=false draw-outline=false \
             shaded-background=true shading-value=170 wait-text=false wrap-mode=none "
        }
        false => "",
    };
    let turn = match rotation {
        Rotation::None => "",
        Rotation::Right => "! videoflip method=clockwise ",
        Rotation::Half => "! videoflip method=rotate-180 ",
        Rotation::Left => "! videoflip method=counterclockwise ",
    };
    let sink = match device {
        // The size is that of the display's own mode: forcing it needs no desktop, and never another mode.
        Device::Kms { .. } => format!(
            "kmssink name=screen-sink sync=false force-modesetting=true connector-id={connector}"
        ),
        Device::Window => "videoconvert ! autovideosink sync=false".to_owned(),
        Device::Framebuffer(node) => {
            format!("videoconvert ! fbdevsink sync=false device={}", quoted(node))
        }
        Device::Own(fragment) => format!("videoconvert ! {fragment}"),
    };
    format!(
        "appsrc name=in is-live=true do-timestamp=true format=time block=false max-bytes=0 max-time=0 \
         max-buffers=2 leaky-type=downstream ! {scale} ! capsfilter name=screen-size \
         caps=video/x-raw,width={width},height={height},pixel-aspect-ratio=1/1 {caption}{turn}! {sink}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::found::{ELEMENTS, Screen};

    fn machine() -> Probe {
        Probe::with_elements(ELEMENTS)
    }

    fn settings(source: Source) -> DisplaySettings {
        DisplaySettings { source, ..DisplaySettings::default() }
    }

    fn plug(name: &str, id: u32, connected: bool, mode: Option<[u32; 2]>) -> Connector {
        Connector { name: name.to_owned(), id, connected, mode }
    }

    fn label(surface: Surface) -> String {
        match surface {
            Surface::Counted(sink) => sink.label,
            other => panic!("not counted: {other:?}"),
        }
    }

    #[test]
    fn without_a_display_pictures_are_only_counted() {
        let auto = settings(Source::Auto);
        let Surface::Counted(sink) = surface(&auto, &machine()) else { panic!("counted") };
        assert_eq!(sink.text, "fakevideosink sync=false");
        let mut bare = machine();
        bare.elements.remove("fakevideosink");
        let Surface::Counted(sink) = surface(&auto, &bare) else { panic!("counted") };
        assert_eq!(sink.text, "fakesink sync=false");
        assert!(label(surface(&settings(Source::Test), &machine())).contains("window system"));
    }

    #[test]
    fn a_window_goes_before_a_screen_and_off_before_both() {
        let mut probe = machine();
        let kms = |connector: Option<&str>| {
            Surface::Screen(Device::Kms { connector: connector.map(str::to_owned) })
        };
        probe.screens = vec![Screen { connector: "HDMI-A-1".to_owned(), ..Screen::default() }];
        assert_eq!(surface(&settings(Source::Auto), &probe), kms(None), "it may be plugged in");
        let named = settings(Source::Device("HDMI-A-1".to_owned()));
        assert_eq!(surface(&named, &probe), kms(Some("HDMI-A-1")));
        probe.windows = true;
        assert_eq!(surface(&settings(Source::Auto), &probe), Surface::Screen(Device::Window));
        assert_eq!(surface(&named, &probe), kms(Some("HDMI-A-1")), "what is named is meant");
        assert!(label(surface(&settings(Source::Off), &probe)).contains("off"));
        probe.elements.remove("kmssink");
        assert!(label(surface(&named, &probe)).contains("install"));
    }

    #[test]
    fn own_pipelines_are_left_alone_unless_slates_are_asked_for() {
        let mut own = settings(Source::Pipeline(" fakesink name=mine ".to_owned()));
        let device = Device::Own("fakesink name=mine".to_owned());
        assert_eq!(surface(&own, &machine()), Surface::Screen(device.clone()));
        own.rotation = Rotation::Right;
        let text = screen(&device, 0, [320, 240], &own, &machine());
        assert!(text.contains("width=320,height=240") && !text.contains("videoflip"), "{text}");
        own.slates = false;
        assert!(!may_have_screen(&own));
        let Surface::Direct(sink) = surface(&own, &machine()) else { panic!("direct") };
        assert_eq!(sink.text, "videoconvert ! fakesink name=mine");
    }

    #[test]
    fn a_named_connector_is_unplugged_by_itself() {
        let screen = |name: &str, connected| Screen {
            connector: name.to_owned(),
            connected,
            ..Screen::default()
        };
        let screens = [screen("HDMI-A-1", true), screen("HDMI-A-2", false)];
        assert!(!is_unplugged(&screens, None));
        assert!(is_unplugged(&screens, Some("HDMI-A-2")));
        assert!(!is_unplugged(&screens, Some("HDMI-A-1")));
        assert!(!is_unplugged(&screens, Some("DSI-1")), "it is asked, and says that there is none");
        assert!(is_unplugged(&screens[1..], None));
        assert!(!is_unplugged(&[], None));
    }

    #[test]
    fn the_named_connector_is_taken_or_the_first_that_has_a_display() {
        let mode = Some([1920, 1080]);
        let all = [
            plug("HDMI-A-1", 32, false, None),
            plug("HDMI-A-2", 41, true, mode),
            plug("DSI-1", 45, true, Some([800, 480])),
        ];
        assert_eq!(pick(&all, None).map(|found| found.id), Ok(41));
        assert_eq!(pick(&all, Some("DSI-1")).map(|found| found.id), Ok(45));
        let why = |wanted| pick(&all, Some(wanted)).expect_err("there is none");
        assert_eq!(why("HDMI-A-1"), "no display is plugged into HDMI-A-1");
        assert!(why("DPI-1").contains("connectors: HDMI-A-1, HDMI-A-2, DSI-1"));
        assert!(pick(&[], None).expect_err("none").contains("no connector at all"));
        let blind = [plug("HDMI-A-1", 32, true, None)];
        assert!(pick(&blind, Some("HDMI-A-1")).expect_err("none").contains("no mode"));
        assert!(pick(&blind, None).is_err());
    }

    #[test]
    fn a_screen_keeps_its_own_mode_and_is_turned_last() {
        let device = Device::Kms { connector: None };
        let mut settings = settings(Source::Auto);
        let text = screen(&device, 45, [800, 480], &settings, &machine());
        assert!(text.contains("width=800,height=480") && !text.contains("videoflip"), "{text}");
        assert!(text.contains("force-modesetting=true connector-id=45"), "{text}");
        for (rotation, size, method) in [
            (Rotation::Right, "width=480,height=800", "method=clockwise"),
            (Rotation::Half, "width=800,height=480", "method=rotate-180"),
            (Rotation::Left, "width=480,height=800", "method=counterclockwise"),
        ] {
            settings.rotation = rotation;
            let text = screen(&device, 45, [800, 480], &settings, &machine());
            let [scaled, written, turned] = [size, "textoverlay", method]
                .map(|part| text.find(part).unwrap_or_else(|| panic!("{part} in {text}")));
            assert!(scaled < written && written < turned, "{text}");
        }
    }

    #[test]
    fn without_the_element_for_text_the_picture_is_still_shown() {
        let mut probe = machine();
        probe.elements.remove("textoverlay");
        probe.elements.remove("videoconvertscale");
        let text = screen(&Device::Window, 0, [800, 480], &settings(Source::Auto), &probe);
        assert!(text.contains("videoconvert ! videoscale") && !text.contains("textoverlay"));
    }
}
