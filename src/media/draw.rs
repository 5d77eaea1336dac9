//! Draws a slate: once, into memory, with the same library that writes subtitles into films (Pango).
//!
//! What stands on it is decided in `slate.rs`; how it reaches the screen, in `screen.rs`.

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use qrcode::QrCode;

use super::slate::Slate;

/// How long one drawing may take: far more than the slowest board needs with no font in its cache.
const LIMIT: gst::ClockTime = gst::ClockTime::from_seconds(15);

/// Draws the slate. Without the element for text the ground comes back alone, and the words of the second value say
/// so. Blocks for some tens of milliseconds, the first time longer.
///
/// # Errors
/// What went wrong, in words.
pub(super) fn draw(slate: &Slate) -> Result<(gst::Sample, Option<String>), String> {
    if let Some(code) = &slate.code {
        return Ok((draw_code(code, slate.width, slate.height)?, None));
    }
    let markup = slate.markup();
    let can_write = gst::ElementFactory::find("textoverlay").is_some();
    let overlay = match &markup {
        Some(_) if can_write => {
            "! textoverlay name=text auto-resize=false draw-shadow=false draw-outline=false valignment=center \
             halignment=center line-alignment=center wrap-mode=wordchar"
        }
        _ => "",
    };
    let text = format!(
        "videotestsrc num-buffers=1 pattern=solid-color foreground-color={} \
         ! video/x-raw,format=I420,width={},height={},framerate=1/1,pixel-aspect-ratio=1/1 {overlay} \
         ! appsink name=out sync=false max-buffers=1",
        0xff00_0000 | slate.ground,
        slate.width,
        slate.height
    );
    let failed = |error: &dyn std::fmt::Display| format!("a slate cannot be drawn: {error}");
    let pipeline = gst::parse::launch(&text)
        .map_err(|error| failed(&error.message()))?
        .downcast::<gst::Pipeline>()
        .map_err(|_| failed(&"no pipeline"))?;
    if let (Some(element), Some(markup)) = (pipeline.by_name("text"), &markup) {
        element.set_property("text", markup);
    }
    let out = pipeline.by_name("out").and_then(|out| out.downcast::<gst_app::AppSink>().ok());
    let sample = match pipeline.set_state(gst::State::Playing) {
        Ok(_) => out.and_then(|out| out.try_pull_sample(LIMIT)),
        Err(_) => None,
    };
    let error = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
    if let Err(error) = pipeline.set_state(gst::State::Null) {
        tracing::debug!(%error, "the drawing did not stop cleanly");
    }
    let sample = sample.ok_or_else(|| match error.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => failed(&error.error().message()),
        _ => failed(&"nothing came of it"),
    })?;
    let missing = (markup.is_some() && !can_write).then(|| {
        "no text on it: the element textoverlay does not exist here; install the plugin that holds it"
            .to_owned()
    });
    Ok((sample, missing))
}

/// Black and white in video range.
const BLACK: u8 = 16;
const WHITE: u8 = 235;
/// The light border readers need, in modules.
const QUIET: usize = 4;

/// A QR code in the middle, each module as many whole pixels as fit.
fn draw_code(code: &str, width: u32, height: u32) -> Result<gst::Sample, String> {
    let code = QrCode::new(code).map_err(|error| format!("no QR code can be made: {error}"))?;
    let modules = code.width();
    let colours = code.to_colors();
    let side = (width.min(height) as usize) / (modules + 2 * QUIET);
    if side == 0 {
        return Err("the screen is too small for a QR code".to_owned());
    }
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height)
        .fps(gst::Fraction::new(1, 1))
        .build()
        .map_err(|error| format!("no QR code can be drawn: {error}"))?;
    let (stride, luma) = (info.stride()[0] as usize, info.offset()[1]);
    // Grey is the middle of both colour planes.
    let mut bytes = vec![128; info.size()];
    bytes[..luma].fill(BLACK);
    let extent = (modules + 2 * QUIET) * side;
    let left = (width as usize - extent) / 2;
    let top = (height as usize - extent) / 2;
    for y in 0..extent {
        let row = &mut bytes[(top + y) * stride + left..][..extent];
        let line = (y / side).wrapping_sub(QUIET);
        for (x, pixel) in row.iter_mut().enumerate() {
            let column = (x / side).wrapping_sub(QUIET);
            let dark = line < modules
                && column < modules
                && colours[line * modules + column] == qrcode::Color::Dark;
            *pixel = if dark { BLACK } else { WHITE };
        }
    }
    let caps = info.to_caps().map_err(|error| format!("no QR code can be drawn: {error}"))?;
    Ok(gst::Sample::builder().buffer(&gst::Buffer::from_slice(bytes)).caps(&caps).build())
}

#[cfg(test)]
mod tests {
    use super::super::slate::{SIZES, dark, every_message, slate};
    use super::*;
    use crate::config::Language;
    use gstreamer_video::prelude::*;

    /// The brightness of each pixel, 0 to 255, row by row.
    fn brightness(sample: &gst::Sample) -> (usize, Vec<Vec<u8>>) {
        let info =
            gst_video::VideoInfo::from_caps(sample.caps().expect("caps")).expect("a picture");
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(
            sample.buffer().expect("a buffer"),
            &info,
        )
        .expect("readable");
        let (width, stride) = (info.width() as usize, frame.plane_stride()[0] as usize);
        let data = frame.plane_data(0).expect("its brightness");
        let rows = data.chunks(stride).take(info.height() as usize);
        (width, rows.map(|row| row[..width].to_vec()).collect())
    }

    /// Writes a PNG, to be looked at, when INTERCOMD_SLATES names a folder.
    fn keep(sample: &gst::Sample, name: &str) {
        let Some(folder) = std::env::var_os("INTERCOMD_SLATES") else { return };
        let path = std::path::Path::new(&folder).join(format!("{name}.png"));
        let caps = gst::Caps::new_empty_simple("image/png");
        let png = gst_video::convert_sample(sample, &caps, Some(gst::ClockTime::from_seconds(10)));
        let png = png.expect("a picture can be a PNG");
        let map = png.buffer().expect("a buffer").map_readable().expect("readable");
        std::fs::create_dir_all(&folder).expect("the folder");
        std::fs::write(path, &map).expect("the file");
    }

    #[test]
    fn every_slate_is_readable_and_whole_on_every_panel() {
        crate::media::init().expect("GStreamer starts");
        for (number, size) in SIZES.into_iter().enumerate() {
            // The longer language on every panel, the other on some.
            let languages = [(Language::De, "de"), (Language::En, "en")];
            for (language, tongue) in &languages[..1 + usize::from(number % 4 == 0)] {
                for (number, message) in every_message().iter().enumerate() {
                    let (sample, missing) =
                        draw(&slate(message, *language, size)).expect("it is drawn");
                    assert_eq!(missing, None);
                    let what = format!("{}x{}-{tongue}-{number}", size[0], size[1]);
                    keep(&sample, &what);
                    check(&what, size, &sample);
                }
            }
        }
    }

    fn check(what: &str, size: [u32; 2], sample: &gst::Sample) {
        let (width, rows) = brightness(sample);
        assert_eq!((width, rows.len()), (size[0] as usize, size[1] as usize));
        let mut counts = [0_usize; 256];
        rows.iter().flatten().for_each(|value| counts[usize::from(*value)] += 1);
        let ground = rows[0][0];
        assert!(ground < 50, "{what}: the ground is dark: {ground}");
        let written: usize = counts[150..].iter().sum();
        let share = written * 1000 / (width * rows.len());
        assert!((8..300).contains(&share), "{what}: {share} per mille of it is text");
        let brightest = counts.iter().rposition(|count| *count > 0).expect("pixels");
        assert!(brightest > 170, "{what}: the text is bright: {brightest}");
        // Whole letters keep off the edges; cut ones reach them.
        let edge = size[0].min(size[1]) as usize / 50;
        let clean = |row: &[u8]| row.iter().all(|value| value.abs_diff(ground) < 8);
        for row in rows[..edge].iter().chain(&rows[rows.len() - edge..]) {
            assert!(clean(row), "{what}: reaches the upper or lower edge");
        }
        for row in &rows {
            let sides = clean(&row[..edge]) && clean(&row[width - edge..]);
            assert!(sides, "{what}: reaches a side");
        }
    }

    #[test]
    fn a_phone_reads_the_address_off_every_panel() {
        crate::media::init().expect("GStreamer starts");
        let address = "https://192.168.178.123:8443/#channel=front-door&key=lan_P56raREwDS8XBYeqdQfhzJma0oGzgixx";
        for size in SIZES {
            let message = super::super::scene::Message::Code(address.to_owned());
            let (sample, missing) =
                draw(&slate(&message, Language::En, size)).expect("it is drawn");
            assert_eq!(missing, None);
            let (width, rows) = brightness(&sample);
            let mut seen =
                rqrr::PreparedImage::prepare_from_greyscale(width, rows.len(), |x, y| rows[y][x]);
            let codes = seen.detect_grids();
            let read = codes.first().map(|code| code.decode().expect("it can be read").1);
            assert_eq!(read.as_deref(), Some(address), "{size:?}");
        }
    }

    #[test]
    fn the_dark_screen_is_black_all_over() {
        crate::media::init().expect("GStreamer starts");
        let (sample, missing) = draw(&dark([480, 320])).expect("it is drawn");
        assert_eq!(missing, None);
        let (_, rows) = brightness(&sample);
        assert!(rows.iter().flatten().all(|value| *value <= 17), "black in video range");
    }

    #[test]
    fn names_with_marks_and_foreign_letters_are_drawn_as_they_are() {
        crate::media::init().expect("GStreamer starts");
        let name = "<i>Žofie & Łukasz</i>".to_owned();
        let message = super::super::scene::Message::Answered(Some(name));
        let (sample, _) = draw(&slate(&message, Language::En, [800, 480])).expect("it is drawn");
        keep(&sample, "name");
        let (_, rows) = brightness(&sample);
        assert!(rows.iter().flatten().any(|value| *value > 190));
    }
}
