//! What can be set on a camera: reading the list, and setting what the profile and the plan want.
//!
//! The crate `v4l` panics on controls of kinds it does not know (kernel 6.16 gives UVC cameras one, a
//! rectangle), and a release build ends with the panic. So the list is read by a child of this program, which may
//! die alone, and the controls every camera knows are set by their well-known number, without any list.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use v4l::control::{Control, Flags, MenuItem, Type, Value};

use super::camera_feed;
use super::devices_video::not_opened;
use super::found::{CameraControl, ControlKind, MenuEntry};
use super::found_video::control_name;
use super::plan_camera::{ControlsPlan, Wish};

/// The child's arguments before the node's path.
pub const CHILD: [&str; 2] = ["devices", "--controls"];
/// How long the child may take. A camera that sleeps takes most of a second to answer.
const CHILD_TIME: Duration = Duration::from_secs(5);
/// How long the child's end is waited for. One that hangs in a driver cannot even be killed.
const CHILD_END: Duration = Duration::from_secs(1);
/// The longest list that is read. A camera has some thirty controls of 200 bytes.
const LONGEST_LIST: u64 = 256 * 1024;

const USER: u32 = 0x0098_0900;
const CAMERA: u32 = 0x009a_0900;

/// The controls of `linux/v4l2-controls.h` that cameras have, by the names `v4l2-ctl` shows, those of kernels
/// before 5.19 too.
const STANDARD: &[(&str, u32)] = &[
    ("brightness", USER),
    ("contrast", USER + 1),
    ("saturation", USER + 2),
    ("hue", USER + 3),
    ("white_balance_automatic", USER + 12),
    ("white_balance_temperature_auto", USER + 12),
    ("red_balance", USER + 14),
    ("blue_balance", USER + 15),
    ("gamma", USER + 16),
    ("exposure", USER + 17),
    ("gain_automatic", USER + 18),
    ("gain", USER + 19),
    ("horizontal_flip", USER + 20),
    ("vertical_flip", USER + 21),
    ("power_line_frequency", USER + 24),
    ("hue_automatic", USER + 25),
    ("white_balance_temperature", USER + 26),
    ("sharpness", USER + 27),
    ("backlight_compensation", USER + 28),
    ("auto_exposure", CAMERA + 1),
    ("exposure_auto", CAMERA + 1),
    ("exposure_time_absolute", CAMERA + 2),
    ("exposure_absolute", CAMERA + 2),
    ("exposure_dynamic_framerate", CAMERA + 3),
    ("exposure_auto_priority", CAMERA + 3),
    ("pan_absolute", CAMERA + 8),
    ("tilt_absolute", CAMERA + 9),
    ("focus_absolute", CAMERA + 10),
    ("focus_automatic_continuous", CAMERA + 12),
    ("focus_auto", CAMERA + 12),
    ("zoom_absolute", CAMERA + 13),
    ("privacy", CAMERA + 16),
    ("iris_absolute", CAMERA + 17),
    ("auto_exposure_bias", CAMERA + 19),
    ("wide_dynamic_range", CAMERA + 21),
    ("image_stabilization", CAMERA + 22),
    ("iso_sensitivity", CAMERA + 23),
    ("scene_mode", CAMERA + 26),
];

/// Sets what the plan wants on a camera, automatics first, as they decide whether others can be set. Opens the
/// node for a moment; another program, or a pipeline, may have it open. May take some seconds with a stuck
/// camera: not for an async task.
///
/// Returns a sentence for each wish of the owner that was not fulfilled. Wishes of the plan's own are not
/// complained of: a camera without such a control needs none.
pub fn apply_controls(plan: &ControlsPlan) -> Vec<String> {
    if plan.wishes.is_empty() {
        return Vec::new();
    }
    if camera_feed::is_stuck(Path::new(&plan.path)) {
        return vec![format!("camera.controls: {}: {}", plan.path, camera_feed::STUCK)];
    }
    let device = match v4l::Device::with_path(&plan.path) {
        Ok(device) => device,
        Err(error) => {
            return vec![format!("camera.controls: {} {}", plan.path, not_opened(&error, "video"))];
        }
    };
    let mut list = List { path: &plan.path, read: None };
    let mut problems = Vec::new();
    for (name, wish) in plan.in_order() {
        match set(&device, name, wish.value(), &mut list) {
            Ok(()) => {
                tracing::debug!(camera = plan.path, name, value = wish.value(), "control set")
            }
            Err(why) => match wish {
                Wish::Owner(_) => problems.push(format!("camera.controls.{name}: {why}")),
                Wish::Plan(_) => tracing::debug!(camera = plan.path, name, why, "control not set"),
            },
        }
    }
    problems
}

fn set(device: &v4l::Device, name: &str, value: i64, list: &mut List<'_>) -> Result<(), String> {
    let standard = STANDARD.iter().find(|(known, _)| *known == name).map(|(_, id)| *id);
    let id = match standard.filter(|id| device.control(*id).is_ok()) {
        Some(id) => id,
        None => {
            let control = list.find(name)?;
            judge(control, value)?;
            control.id
        }
    };
    let told = device.set_control(Control { id, value: Value::Integer(value) });
    if let Err(error) = told {
        let range = list.find(name).map(words).unwrap_or_default();
        return Err(format!("{value} was refused ({error}){range}"));
    }
    match device.control(id).ok().and_then(|now| number(&now.value)) {
        Some(now) if now != value => {
            let range = list.find(name).map(words).unwrap_or_default();
            Err(format!("{value} is out of range and was taken as {now}{range}"))
        }
        _ => Ok(()),
    }
}

/// Whether a value can be right for a control.
fn judge(control: &CameraControl, value: i64) -> Result<(), String> {
    let listed = match control.kind {
        ControlKind::Menu => control.menu.iter().any(|entry| entry.value == value),
        ControlKind::Number | ControlKind::Switch => {
            (control.least..=control.most).contains(&value)
        }
        ControlKind::Button => true,
        ControlKind::Other => return Err("is of a kind that cannot be set here".to_owned()),
    };
    if listed { Ok(()) } else { Err(format!("{value} is out of range{}", words(control))) }
}

/// What a control takes, to follow a complaint.
fn words(control: &CameraControl) -> String {
    if control.menu.is_empty() {
        return format!("; it takes {} to {}", control.least, control.most);
    }
    let entries = control.menu.iter().map(|entry| format!("{} ({})", entry.value, entry.name));
    format!("; it takes {}", entries.collect::<Vec<_>>().join(", "))
}

/// The camera's list of controls, read when it is first needed.
struct List<'a> {
    path: &'a str,
    read: Option<Result<Vec<CameraControl>, String>>,
}

impl List<'_> {
    fn find(&mut self, name: &str) -> Result<&CameraControl, String> {
        let path = self.path;
        let list = match self.read.get_or_insert_with(|| controls(path)) {
            Ok(list) => list,
            Err(why) => return Err(format!("is not known, and the camera's list: {why}")),
        };
        list.iter().find(|control| control.name == name).ok_or_else(|| {
            let names: Vec<&str> = list.iter().map(|control| control.name.as_str()).collect();
            format!("this camera has no such control; it has {}", names.join(", "))
        })
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Boolean(on) => Some(i64::from(*on)),
        _ => None,
    }
}

/// What can be set on a camera, asked by a child of this program. Takes some milliseconds, 6 s at most.
///
/// # Errors
/// A sentence: the node cannot be opened, or the child came to grief.
pub fn controls(path: &str) -> Result<Vec<CameraControl>, String> {
    // By this name the program is found even when a newer one was installed over it.
    let child = Command::new("/proc/self/exe")
        .args(CHILD)
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| format!("the program cannot start itself ({error})"))?;
    let Some(output) = child.stdout.take() else {
        return Err("the program that asks has no output".to_owned());
    };
    let (answer, answered) = mpsc::sync_channel(1);
    let reader = std::thread::Builder::new().name("controls".to_owned()).spawn(move || {
        let mut text = String::new();
        let read = output.take(LONGEST_LIST).read_to_string(&mut text);
        // Nobody listens any more when the time was over.
        let _ = answer.send(read.map(|_| text));
    });
    let text = match reader {
        Ok(_) => answered.recv_timeout(CHILD_TIME),
        Err(error) => {
            tracing::warn!(%error, "no thread to read a camera's controls");
            Err(mpsc::RecvTimeoutError::Disconnected)
        }
    };
    if text.is_err()
        && let Err(error) = child.kill()
    {
        tracing::debug!(%error, "the program that asks had ended");
    }
    let status = end_of(child, CHILD_END);
    match (text, status) {
        (Err(_), _) => Err(format!("no answer in {} s", CHILD_TIME.as_secs())),
        (Ok(Err(error)), _) => Err(format!("the answer cannot be read ({error})")),
        (Ok(Ok(_)), Err(why)) => Err(why),
        (Ok(Ok(text)), Ok(status)) if status.success() => serde_json::from_str(&text)
            .map_err(|error| format!("the answer makes no sense ({error})")),
        (Ok(Ok(text)), Ok(_)) if !text.trim().is_empty() => Err(text.trim().to_owned()),
        (Ok(Ok(_)), Ok(status)) => Err(format!(
            "the crate that asks does not know a control of this camera ({status}); those with well-known names \
             can be set all the same"
        )),
    }
}

/// How a child ended, waited for in a thread of its own, which stays with it when this gives up.
///
/// # Errors
/// A sentence: it has not ended in time, or nobody can wait for it.
fn end_of(mut child: Child, limit: Duration) -> Result<ExitStatus, String> {
    let (tell, told) = mpsc::sync_channel(1);
    let waiter = std::thread::Builder::new().name("controls-end".to_owned()).spawn(move || {
        // Nobody listens any more when the time was over.
        let _ = tell.send(child.wait());
    });
    if let Err(error) = waiter {
        return Err(format!("no thread to wait for the program that asks ({error})"));
    }
    match told.recv_timeout(limit) {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(format!("the program that asks is lost ({error})")),
        Err(_) => {
            Err("the program that asks does not end; the camera's driver may hang".to_owned())
        }
    }
}

/// Asks a camera for its controls in this process, which a control of an unknown kind ends. For the child only.
///
/// # Errors
/// A sentence: the node cannot be opened or has no controls.
pub fn controls_here(path: &str) -> Result<Vec<CameraControl>, String> {
    let device = v4l::Device::with_path(path).map_err(|error| not_opened(&error, "video"))?;
    let list = device.query_controls().map_err(|error| format!("has no controls ({error})"))?;
    let mut seen = BTreeMap::new();
    let list = list.into_iter().filter(|control| {
        control.typ != Type::CtrlClass && !control.flags.contains(Flags::DISABLED)
    });
    for control in list {
        let value = device.control(control.id).ok().and_then(|now| number(&now.value));
        let name = control_name(&control.name);
        let menu = control.items.unwrap_or_default().into_iter().map(|(value, item)| MenuEntry {
            value: i64::from(value),
            name: match item {
                MenuItem::Name(name) => name,
                MenuItem::Value(value) => value.to_string(),
            },
        });
        let control = CameraControl {
            id: control.id,
            kind: match control.typ {
                Type::Integer | Type::Integer64 => ControlKind::Number,
                Type::Boolean => ControlKind::Switch,
                Type::Menu | Type::IntegerMenu => ControlKind::Menu,
                Type::Button => ControlKind::Button,
                _ => ControlKind::Other,
            },
            least: control.minimum,
            most: control.maximum,
            step: control.step,
            default: control.default,
            value,
            inactive: control.flags.intersects(Flags::INACTIVE | Flags::READ_ONLY | Flags::GRABBED),
            menu: menu.collect(),
            name: name.clone(),
        };
        // Two of one name: the first is the one v4l2-ctl sets.
        seen.entry(name).or_insert(control);
    }
    Ok(seen.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_judged_by_range_and_by_menu() {
        let gain = CameraControl { least: 0, most: 255, ..CameraControl::default() };
        assert_eq!(judge(&gain, 255), Ok(()));
        let why = judge(&gain, 256).expect_err("too large");
        assert!(why.contains("0 to 255"), "{why}");
        let entry = |value, name: &str| MenuEntry { value, name: name.to_owned() };
        let exposure = CameraControl {
            kind: ControlKind::Menu,
            most: 3,
            menu: vec![entry(1, "Manual Mode"), entry(3, "Aperture Priority Mode")],
            ..CameraControl::default()
        };
        assert_eq!(judge(&exposure, 3), Ok(()));
        let why = judge(&exposure, 2).expect_err("a hole in the menu");
        assert!(why.contains("1 (Manual Mode), 3 (Aperture Priority Mode)"), "{why}");
    }

    #[test]
    fn standard_names_are_written_as_the_list_would_write_them() {
        for (name, _) in STANDARD {
            assert_eq!(control_name(name), *name);
        }
    }

    #[test]
    fn a_child_that_does_not_end_is_not_waited_for_without_limit_and_is_reaped_when_it_does() {
        let child = Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let id = child.id();
        let begun = std::time::Instant::now();
        let why = end_of(child, Duration::from_millis(50)).expect_err("it sleeps");
        assert!(why.contains("does not end"), "{why}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        let folder = std::path::PathBuf::from(format!("/proc/{id}"));
        assert!(folder.exists(), "it goes on");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(id).expect("a process id"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it is ours");
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while folder.exists() {
            assert!(std::time::Instant::now() < deadline, "it is no zombie");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_child_that_ends_tells_how() {
        let child = Command::new("false").spawn().expect("false starts");
        let status = end_of(child, Duration::from_secs(30)).expect("it has ended");
        assert_eq!(status.code(), Some(1));
    }

    #[test]
    fn a_camera_that_is_gone_is_a_sentence_of_its_own() {
        let plan = ControlsPlan {
            path: "/nonexistent/video0".to_owned(),
            wishes: [("gain".to_owned(), Wish::Owner(3))].into(),
        };
        let problems = apply_controls(&plan);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("/nonexistent/video0"), "{problems:?}");
        assert!(controls_here("/nonexistent/video0").is_err());
    }
}
