//! Reads a V4L2 camera and feeds its pictures to a part of the capture.
//!
//! GStreamer's `v4l2src` never lets go of a device it has negotiated with: each start leaves one descriptor and the
//! element behind (seen with 1.22, media.md). So the node is read here, and closed when its call is over. A thread
//! of its own, because a driver waits as long as it likes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use v4l::buffer::{Flags, Type};
use v4l::device::Handle;
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture as _;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC, Fraction};

use super::bell::lock;
use super::devices_video::not_opened;
use super::plan_camera::CameraFeed;

/// Buffers in the driver: one is filled, one waits, one is read, one to spare.
const BUFFERS: u32 = 4;
/// How long one wait for a picture lasts at most: so late the end of the feed is noticed.
const WAIT: Duration = Duration::from_millis(200);
/// The same for the first, which a camera takes longer for. The end of a feed may take as long until then: less than [`END`].
const START: Duration = Duration::from_millis(800);
/// How long the end of a feed is waited for. Some drivers hang when they are told to stop.
const END: Duration = Duration::from_secs(2);
/// A picture older than this has a time stamp of another clock.
const OLDEST: gst::ClockTime = gst::ClockTime::from_seconds(1);
/// A device that is gone.
const ENODEV: i32 = 19;

/// How a node is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grip {
    /// It is being read.
    Reading,
    /// It was left to a driver that hangs. Who asked it anything would hang as well.
    Stuck,
}

/// The nodes that are held, by what their names lead to.
static HELD: Mutex<BTreeMap<PathBuf, Grip>> = Mutex::new(BTreeMap::new());

/// What a node's name leads to: one node has several.
fn node_of(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Whether this node's driver has not come back from the end of the last reading.
pub(super) fn is_stuck(path: &Path) -> bool {
    // Names are looked up in the file system only if there is anything to compare them with.
    let held = lock(&HELD).clone();
    held.values().any(|grip| *grip == Grip::Stuck) && held.get(&node_of(path)) == Some(&Grip::Stuck)
}

/// Why a node that [`is_stuck`] is not asked.
pub(super) const STUCK: &str = "its driver has not let go of it since it was read last; if it stays so, take the camera's power away";

/// A node in [`HELD`], until this is dropped.
#[derive(Debug)]
struct Held(PathBuf);

impl Held {
    /// `None` if the node is held already.
    fn take(path: &str) -> Option<Self> {
        let node = node_of(Path::new(path));
        match lock(&HELD).entry(node.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(free) => {
                free.insert(Grip::Reading);
                Some(Self(node))
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&HELD).remove(&self.0);
    }
}

/// A camera being read. It is closed when this is dropped, after [`WAIT`] or at first [`START`] if its driver is well. One that hangs
/// is left to its thread after [`END`], and cannot be opened again before that has ended.
#[derive(Debug)]
pub(super) struct Feeding {
    node: PathBuf,
    over: Arc<AtomicBool>,
    ended: mpsc::Receiver<()>,
}

impl Feeding {
    /// Opens the camera, sets what is wanted and begins to read. Blocks while the device is opened.
    ///
    /// # Errors
    /// A sentence saying what the camera does not do.
    pub(super) fn start(wanted: &CameraFeed, source: gst_app::AppSrc) -> Result<Self, String> {
        let path = wanted.path.clone();
        let held = Held::take(&path).ok_or_else(|| format!("{path}: {STUCK}"))?;
        let device = open(wanted).map_err(|why| format!("{path}: {why}"))?;
        let stream = Stream::with_buffers(&device, Type::VideoCapture, BUFFERS);
        let mut stream = stream.map_err(|error| format!("{path} gives no buffers: {error}"))?;
        Self::on_a_thread(held, move |over| {
            if let Err(error) = read(&mut stream, &source, over) {
                gst::element_error!(source, gst::ResourceError::Read, ("{path}: {error}"));
            }
            close(stream, &path);
            drop(device);
        })
    }

    /// Lets a thread read. `read` closes the device when it is told that it is over.
    fn on_a_thread(
        held: Held,
        read: impl FnOnce(&AtomicBool) + Send + 'static,
    ) -> Result<Self, String> {
        let node = held.0.clone();
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let (end, ended) = mpsc::channel();
        let thread = std::thread::Builder::new().name("camera".to_owned()).spawn(move || {
            read(&seen);
            // First: whoever is told of the end may open the camera again.
            drop(held);
            // Nobody listens any more when it took too long.
            let _ = end.send(());
        });
        match thread {
            Ok(_) => Ok(Self { node, over, ended }),
            Err(error) => Err(format!(
                "no thread for the camera: {error}; raise the system's limit on threads"
            )),
        }
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        match self.ended.recv_timeout(END) {
            Ok(()) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                tracing::warn!(path = %self.node.display(), "the camera's thread ended badly");
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if let Some(grip) = lock(&HELD).get_mut(&self.node) {
                    *grip = Grip::Stuck;
                }
                tracing::warn!(
                    path = %self.node.display(),
                    "the camera's driver does not end within {} s; it is left alone, and the camera is not opened \
                     again before it has ended",
                    END.as_secs()
                );
            }
        }
    }
}

fn open(wanted: &CameraFeed) -> Result<Device, String> {
    let device = Device::with_path(&wanted.path).map_err(|error| not_opened(&error, "video"))?;
    let mut format = Format::new(wanted.width, wanted.height, FourCC::new(&wanted.fourcc));
    format = device.set_format(&format).map_err(|error| match error.raw_os_error() {
        Some(code) if code == nix::errno::Errno::EBUSY as i32 => {
            "another program is using it; stop that one".to_owned()
        }
        _ => format!("takes no format: {error}"),
    })?;
    let got = (format.width, format.height, format.fourcc.repr);
    if got != (wanted.width, wanted.height, wanted.fourcc) {
        return Err(format!(
            "gives {} {}x{} where {} {}x{} was asked for",
            format.fourcc,
            format.width,
            format.height,
            FourCC::new(&wanted.fourcc),
            wanted.width,
            wanted.height
        ));
    }
    if wanted.row.is_some_and(|row| format.stride != 0 && format.stride != row) {
        return Err(format!(
            "pads its rows to {} bytes, which this door cannot read; use \
             pipeline = \"v4l2src device={}\"",
            format.stride, wanted.path
        ));
    }
    if let Some((pictures, seconds)) = wanted.rate {
        let parameters = Parameters::new(Fraction::new(seconds, pictures));
        // Not all cameras can be told a rate; theirs is good then.
        if let Err(error) = device.set_params(&parameters) {
            tracing::debug!(path = wanted.path, %error, "the camera keeps its own rate");
        }
    }
    Ok(device)
}

/// Whether nothing is wrong but that no picture has come yet. A camera that stands still is the engine's business.
fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Waits for a picture. Whether there is one: else it is over.
fn wait(handle: &Handle, over: &AtomicBool) -> io::Result<bool> {
    while !over.load(Ordering::Acquire) {
        match handle.poll(nix::libc::POLLIN, WAIT.as_millis() as i32) {
            Ok(0) => {}
            Ok(_) => return Ok(true),
            Err(error) if is_wait(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Takes one picture that is not looked at. The crate gives a buffer back to the driver before it waits for the next
/// picture, and would give the same one back again after a wait in vain.
fn pass_over_one(stream: &mut Stream<'_>, over: &AtomicBool) -> io::Result<()> {
    while !over.load(Ordering::Acquire) {
        match CaptureStream::dequeue(stream) {
            Ok(_) => return Ok(()),
            Err(error) if is_wait(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until it is over or the camera fails.
fn read(stream: &mut Stream<'_>, source: &gst_app::AppSrc, over: &AtomicBool) -> io::Result<()> {
    let clock = gst::SystemClock::obtain();
    let handle = stream.handle();
    // The first call starts the camera and waits for its first picture; what came after a wait in vain would be lost.
    stream.set_timeout(START);
    let mut is_first = true;
    while std::mem::take(&mut is_first) || wait(&handle, over)? {
        let (bytes, about) = match stream.next() {
            Ok(picture) => picture,
            Err(error) if is_wait(&error) => {
                stream.set_timeout(WAIT);
                pass_over_one(stream, over)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        if about.flags.contains(Flags::ERROR) || about.bytesused == 0 {
            continue;
        }
        let used = bytes.len().min(about.bytesused as usize);
        // Copied: the driver has few buffers, and stops when an encoder holds them.
        let mut picture = gst::Buffer::from_mut_slice(bytes[..used].to_vec());
        let taken = u64::try_from(about.timestamp.sec).unwrap_or(0) * 1_000_000_000
            + u64::try_from(about.timestamp.usec).unwrap_or(0) * 1_000;
        let age = clock.time().checked_sub(gst::ClockTime::from_nseconds(taken));
        let age = age.filter(|age| *age < OLDEST).unwrap_or(gst::ClockTime::ZERO);
        let time = source.current_running_time().map(|now| now.saturating_sub(age));
        if let Some(picture) = picture.get_mut() {
            picture.set_pts(time);
        }
        if source.push_buffer(picture).is_err() {
            // The part is being taken out.
            return Ok(());
        }
    }
    Ok(())
}

/// Ends the reading. The crate panics when a device refuses that, and a door must not end with its camera: such a
/// device is left open.
fn close(mut stream: Stream<'_>, path: &str) {
    match stream.stop() {
        Err(error) if error.raw_os_error() != Some(ENODEV) => {
            tracing::warn!(path, %error, "the camera does not stop; it stays open until the daemon ends");
            std::mem::forget(stream);
        }
        Ok(()) | Err(_) => drop(stream),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(path: &str) -> CameraFeed {
        CameraFeed {
            path: path.to_owned(),
            fourcc: *b"YUYV",
            width: 640,
            height: 480,
            row: Some(1280),
            rate: Some((30, 1)),
        }
    }

    fn refusal(path: &str) -> String {
        super::super::init().expect("GStreamer starts");
        let source = gst_app::AppSrc::builder().build();
        Feeding::start(&wanted(path), source).expect_err("it cannot be read")
    }

    #[test]
    fn a_camera_that_is_not_there_is_named() {
        let error = refusal("/dev/nonexistent");
        assert!(error.starts_with("/dev/nonexistent: "), "{error}");
        assert_eq!(refusal("/dev/nonexistent"), error, "what was not opened is not held");
    }

    #[test]
    fn a_driver_that_hangs_holds_up_nobody_and_is_not_opened_again_before_it_has_ended() {
        let path = "/dev/hangs";
        let (let_go, hangs) = mpsc::channel::<()>();
        let held = Held::take(path).expect("nobody has it");
        let feeding = Feeding::on_a_thread(held, move |_| {
            let _ = hangs.recv_timeout(Duration::from_secs(60));
        });
        let begun = std::time::Instant::now();
        drop(feeding.expect("a thread"));
        assert!(begun.elapsed() >= END, "it is given the time to end");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        let error = refusal(path);
        assert!(error.contains("has not let go of it"), "{error}");

        drop(let_go);
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while refusal(path).contains("has not let go of it") {
            assert!(std::time::Instant::now() < deadline, "its thread ends");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_feed_that_ends_is_closed_when_it_is_dropped() {
        let path = "/dev/ends";
        let held = Held::take(path).expect("nobody has it");
        let feeding = Feeding::on_a_thread(held, |over| {
            while !over.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        drop(feeding.expect("a thread"));
        assert!(Held::take(path).is_some(), "it can be opened at once");
    }
}
