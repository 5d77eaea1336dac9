//! An end to what a jitter buffer holds.
//!
//! It holds packets until their time, which the peer writes into them: by one flipped bit hours away. Each further packet
//! is then put into its place among all of them, until the branch cannot even be taken down in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;
use gstreamer as gst;

/// What a plan calls its jitter buffer.
pub(super) const JITTER: &str = "jitter";
/// So many packets may go in before one comes out: a second of the largest picture there is.
const MOST: u64 = 1024;

/// Lets no more into the jitter buffer of this branch while nothing comes out.
pub(super) fn bound(branch: &gst::Bin) {
    let Some(jitter) = branch.by_name(JITTER) else { return };
    let (Some(into), Some(out)) = (jitter.static_pad("sink"), jitter.static_pad("src")) else {
        return;
    };
    let held = Arc::new(AtomicU64::new(0));
    let emptied = Arc::clone(&held);
    out.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, _| {
        emptied.store(0, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    into.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if held.fetch_add(1, Ordering::Relaxed) < MOST {
            return gst::PadProbeReturn::Ok;
        }
        // The binding has GStreamer 1.22 free what is dropped twice over, and complain.
        info.data = None;
        gst::PadProbeReturn::Handled
    });
}

#[cfg(test)]
mod tests {
    use gstreamer_app as gst_app;

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
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while seen.load(Ordering::Relaxed) < sent {
            assert!(std::time::Instant::now() < deadline, "the source does not get on");
            std::thread::yield_now();
        }
        pipeline.set_state(gst::State::Null).expect("it stops");
        // A probe that comes after one that drops is not asked.
        assert_eq!(passed.load(Ordering::Relaxed), MOST);
    }
}
