//! An end to what a jitter buffer holds, and to what it waits for.
//!
//! It holds packets until their time, which the peer writes into them: by one flipped bit hours away. Each further packet
//! is then put into its place among all of them, until the branch cannot even be taken down in time.
//!
//! After a hole it waits for what the hole has swallowed, or for five packets in a row before it believes that a new
//! count began. A picture that is one packet comes every 33 ms, so the keyframe that ends the hole would wait in it.
//!
//! And it begins at once only if its first packet is the first thing in its queue. Behind the event that says what times
//! mean, which comes just before, that packet and all after it wait for the whole latency (GStreamer 1.22.0).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::bell::lock;

/// What a plan calls its jitter buffer.
pub(super) const JITTER: &str = "jitter";
/// So many packets may go in before one comes out: a second of the largest picture there is.
const MOST: u64 = 1024;
/// How long an event may take through the queue; a branch that is stuck takes longer.
const QUEUED: Duration = Duration::from_millis(100);

/// What goes into a branch between the packets before a hole and those after it.
const HOLE: &str = "intercom-hole";

/// The events between a jitter buffer's two ends that a first packet must not queue behind.
#[derive(Debug, Default)]
struct Between {
    events: Mutex<u64>,
    fewer: Condvar,
}

impl Between {
    fn one_more(&self) {
        *lock(&self.events) += 1;
    }

    fn one_less(&self) {
        let mut events = lock(&self.events);
        *events = events.saturating_sub(1);
        self.fewer.notify_all();
    }

    /// Waits until there are none; those that stay are counted no more.
    fn wait_for_none(&self) {
        let events = lock(&self.events);
        if *events > 0
            && let Ok((mut events, waited)) =
                self.fewer.wait_timeout_while(events, QUEUED, |events| *events > 0)
            && waited.timed_out()
        {
            *events = 0;
            tracing::debug!("a jitter buffer is slow; what it begins with may come late");
        }
    }
}

fn pads(branch: &gst::Bin) -> Option<(gst::Pad, gst::Pad)> {
    let jitter = branch.by_name(JITTER)?;
    Some((jitter.static_pad("sink")?, jitter.static_pad("src")?))
}

fn is_segment(info: &gst::PadProbeInfo<'_>) -> bool {
    info.event().is_some_and(|event| event.type_() == gst::EventType::Segment)
}

/// Lets no more into the jitter buffer of this branch while nothing comes out, and no packet before it can pass at once.
pub(super) fn bound(branch: &gst::Bin) {
    let Some((into, out)) = pads(branch) else { return };
    let held = Arc::new(AtomicU64::new(0));
    let emptied = Arc::clone(&held);
    out.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, _| {
        emptied.store(0, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    let between = Arc::new(Between::default());
    let (left, came) = (Arc::clone(&between), Arc::clone(&between));
    out.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if is_segment(info) {
            left.one_less();
        }
        gst::PadProbeReturn::Ok
    });
    let end = out.downgrade();
    into.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |into, info| {
        if is_segment(info) {
            came.one_more();
        }
        if !is_hole(info) {
            return gst::PadProbeReturn::Ok;
        }
        if let Some(out) = end.upgrade() {
            flush(into, &out);
        }
        info.data = None;
        gst::PadProbeReturn::Handled
    });
    into.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        between.wait_for_none();
        if held.fetch_add(1, Ordering::Relaxed) < MOST {
            return gst::PadProbeReturn::Ok;
        }
        // The binding has GStreamer 1.22 free what is dropped twice over, and complain.
        info.data = None;
        gst::PadProbeReturn::Handled
    });
}

/// Has the jitter buffer behind this source, which is bound, forget what it counted: the next packet passes at once, whatever
/// its number. Elements behind it notice nothing. Waits for nothing: it is done when all packets before have passed.
pub(super) fn forget(source: &gst_app::AppSrc) {
    // Refused only while the branch is being taken down.
    let _ = source.send_event(gst::event::CustomDownstream::new(gst::Structure::new_empty(HOLE)));
}

fn is_hole(info: &gst::PadProbeInfo<'_>) -> bool {
    info.event().is_some_and(|event| event.has_name(HOLE))
}

/// In the source's own thread, so that no packet is under way.
fn flush(into: &gst::Pad, out: &gst::Pad) {
    // Without one, nothing has come yet.
    let Some(segment) = into.sticky_event::<gst::event::Segment>(0) else { return };
    let held_back = out.add_probe(gst::PadProbeType::EVENT_FLUSH, move |_, info| {
        info.data = None;
        gst::PadProbeReturn::Handled
    });
    into.send_event(gst::event::FlushStart::new());
    into.send_event(gst::event::FlushStop::new(false));
    if let Some(probe) = held_back {
        out.remove_probe(probe);
    }
    // The flush took it away, and packets need one.
    into.send_event(segment);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_packets_wait_for_a_time_that_never_comes() {
        super::super::init().expect("GStreamer starts");
        // It waits for the rest of its latency, which is a day.
        let text = format!(
            "appsrc name=in format=time is-live=true do-timestamp=true max-bytes=0 \
             caps=\"application/x-rtp,media=audio,clock-rate=48000,encoding-name=OPUS,payload=96\" \
             ! rtpjitterbuffer name={JITTER} latency=86400000 ! fakesink async=false sync=false"
        );
        let pipeline = gst::parse::launch(&text).expect("a pipeline");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
        bound(pipeline.upcast_ref());
        let passed = Arc::new(AtomicU64::new(0));
        let seen = Arc::new(AtomicU64::new(0));
        let source = pipeline.by_name("in").expect("it is named");
        let jitter = pipeline.by_name(JITTER).expect("it is named");
        let (count, all) = (Arc::clone(&passed), Arc::clone(&seen));
        source.static_pad("src").expect("one").add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            all.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
        jitter.static_pad("sink").expect("one").add_probe(
            gst::PadProbeType::BUFFER,
            move |_, _| {
                count.fetch_add(1, Ordering::Relaxed);
                gst::PadProbeReturn::Ok
            },
        );
        pipeline.set_state(gst::State::Playing).expect("it starts");
        let source = source.downcast::<gst_app::AppSrc>().expect("an appsrc");
        let sent = MOST + 500;
        for number in 0..sent {
            let number = u16::try_from(number).expect("few");
            let mut packet = vec![0x80, 96];
            packet.extend(number.to_be_bytes());
            packet.extend((u32::from(number) * 960).to_be_bytes());
            packet.extend([0, 0, 0, 7, 0xfc]);
            source.push_buffer(gst::Buffer::from_mut_slice(packet)).expect("it is taken");
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while seen.load(Ordering::Relaxed) < sent {
            assert!(std::time::Instant::now() < deadline, "the source does not get on");
            std::thread::yield_now();
        }
        pipeline.set_state(gst::State::Null).expect("it stops");
        // A probe that comes after one that drops is not asked.
        assert_eq!(passed.load(Ordering::Relaxed), MOST);
    }

    /// `appsrc ! rtpjitterbuffer` with the pictures' latency; what comes out is sent to the receiver.
    fn line() -> (gst::Pipeline, gst_app::AppSrc, std::sync::mpsc::Receiver<u16>) {
        super::super::init().expect("GStreamer starts");
        let text = format!(
            "appsrc name=in format=time is-live=true do-timestamp=true max-bytes=0 \
             caps=\"application/x-rtp,media=video,clock-rate=90000,encoding-name=VP8,payload=96\" \
             ! rtpjitterbuffer name={JITTER} latency=86400000 max-dropout-time=600 \
             faststart-min-packets=1 ! fakesink async=false sync=false"
        );
        let pipeline = gst::parse::launch(&text).expect("a pipeline");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
        let (tell, told) = std::sync::mpsc::channel();
        let out = pipeline.by_name(JITTER).expect("it is named").static_pad("src").expect("one");
        out.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let map = info.buffer().expect("a buffer").map_readable().expect("memory");
            let _ = tell.send(u16::from_be_bytes([map[2], map[3]]));
            gst::PadProbeReturn::Ok
        });
        bound(pipeline.upcast_ref());
        pipeline.set_state(gst::State::Playing).expect("it starts");
        let source = pipeline.by_name("in").expect("it is named");
        (pipeline, source.downcast().expect("an appsrc"), told)
    }

    fn push(source: &gst_app::AppSrc, number: u16) {
        let mut packet = vec![0x80, 0x80 | 96];
        packet.extend(number.to_be_bytes());
        packet.extend((u32::from(number) * 3000).to_be_bytes());
        packet.extend([0, 0, 0, 7, 0x10, 0, 0, 0]);
        source.push_buffer(gst::Buffer::from_mut_slice(packet)).expect("it is taken");
    }

    #[test]
    fn after_a_hole_the_first_packet_passes_at_once_and_so_do_those_behind_it() {
        let (pipeline, source, told) = line();
        let limit = Duration::from_secs(20);
        for number in 0..10 {
            push(&source, number);
            assert_eq!(told.recv_timeout(limit), Ok(number));
        }
        forget(&source);
        // By number it comes after twenty others that are missing, for which the latency would be waited.
        for number in [30, 31, 32, 5000, 5001] {
            if number == 5000 {
                forget(&source);
            }
            push(&source, number);
            assert_eq!(told.recv_timeout(limit), Ok(number));
        }
        pipeline.set_state(gst::State::Null).expect("it stops");
    }

    #[test]
    fn packets_under_way_before_a_hole_do_not_hold_up_the_one_behind_it() {
        let (pipeline, source, told) = line();
        let limit = Duration::from_secs(20);
        for round in 0..50 {
            let from = round * 1_000;
            // Not waited for: the source's thread is in the middle of them.
            (from..from + 20).for_each(|number| push(&source, number));
            forget(&source);
            push(&source, from + 500);
            // Those still in the jitter buffer are from before the hole and may go.
            let mut passed = std::iter::from_fn(|| told.recv_timeout(limit).ok());
            assert!(passed.any(|number| number == from + 500), "round {round}");
        }
        pipeline.set_state(gst::State::Null).expect("it stops");
    }
}
