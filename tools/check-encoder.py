#!/usr/bin/python3
"""What an H.264 encoder of GStreamer does while it runs, as intercomd uses it: for docs/hardware-checklist.md.

    tools/check-encoder.py [v4l2h264enc|x264enc|openh264enc] [WIDTHxHEIGHT] [RATE]

Encodes a restless test picture for 16 s, with a keyframe of its own only every 60 s. Asks for a keyframe at 4 s by an
event, at 6 s by the driver's control, and for a fifth of the bitrate at 8 s. Prints when keyframes came and what the
encoder gave; exit code 1 if the stream stalled or had none. Needs python3-gi and gir1.2-gst-plugins-base-1.0.
"""
import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import GLib, Gst, GstVideo  # noqa: E402

FULL, LOW = 1_500_000, 300_000
EVENT_AT, CONTROL_AT, LOW_AT, END_AT = 4.0, 6.0, 8.0, 16.0


def arguments(words):
    """Element, width, height, pictures per second."""
    name = words[0] if words else "v4l2h264enc"
    width, height = (int(side) for side in (words[1] if len(words) > 1 else "1280x720").split("x"))
    return name, width, height, int(words[2]) if len(words) > 2 else 30


def encoder_text(name, width, height, rate):
    """The encoder as the daemon builds it, but for the distance of keyframes."""
    distance = rate * 60
    blocks = -(-width // 16) * -(-height // 16)
    level = "3.1" if blocks <= 3600 and blocks * rate <= 108000 else "4"
    return {
        "v4l2h264enc": f'v4l2h264enc name=encoder extra-controls="controls,video_bitrate={FULL},'
        f'h264_i_frame_period={distance},repeat_sequence_header=1" '
        f"! video/x-h264,profile=(string)constrained-baseline,level=(string){level}",
        "x264enc": f"x264enc name=encoder tune=zerolatency speed-preset=ultrafast key-int-max={distance} "
        f"bitrate={FULL // 1000} vbv-buf-capacity=250 ! video/x-h264,profile=constrained-baseline",
        "openh264enc": f"openh264enc name=encoder usage-type=camera complexity=low rate-control=bitrate "
        f"gop-size={distance} bitrate={FULL} ! video/x-h264,profile=constrained-baseline",
    }[name]


def set_control(encoder, control, value):
    """Sets a control of the driver while the element runs."""
    encoder.set_property("extra-controls", Gst.Structure.from_string(f"controls,{control}={value}")[0])


def main():
    name, width, height, rate = arguments(sys.argv[1:])
    Gst.init(None)
    if Gst.ElementFactory.find(name) is None:
        sys.exit(f"{name} does not exist here: is the driver loaded, and the plugin installed?")
    layout = "NV12" if name == "v4l2h264enc" else "I420"
    pipeline = Gst.parse_launch(
        f"videotestsrc is-live=true pattern=zone-plate kx2=20 ky2=20 kt=4 "
        f"! video/x-raw,format={layout},width={width},height={height},framerate={rate}/1,colorimetry=bt709 "
        f"! queue ! {encoder_text(name, width, height, rate)} "
        f"! h264parse name=parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au "
        f"! fakesink name=sink sync=false signal-handoffs=true"
    )
    encoder = pipeline.get_by_name("encoder")
    units = []  # seconds since the start, bytes, keyframe
    started = time.monotonic()

    def taken(_sink, buffer, _pad):
        key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        units.append((time.monotonic() - started, buffer.get_size(), key))

    pipeline.get_by_name("sink").connect("handoff", taken)
    loop = GLib.MainLoop()
    failure = []

    def heard(_bus, message):
        if message.type == Gst.MessageType.ERROR:
            failure.append(str(message.parse_error()[0].message))
            loop.quit()

    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect("message", heard)

    def by_event():
        event = GstVideo.video_event_new_upstream_force_key_unit(Gst.CLOCK_TIME_NONE, True, 0)
        encoder.get_static_pad("src").send_event(event)

    def by_control():
        if name == "v4l2h264enc":
            set_control(encoder, "force_key_frame", 1)

    def less():
        if name == "v4l2h264enc":
            set_control(encoder, "video_bitrate", LOW)
        else:
            encoder.set_property("bitrate", LOW // 1000 if name == "x264enc" else LOW)

    for at, act in ((EVENT_AT, by_event), (CONTROL_AT, by_control), (LOW_AT, less), (END_AT, loop.quit)):
        GLib.timeout_add(int(at * 1000), lambda act=act: act() or False)
    pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    caps = pipeline.get_by_name("parse").get_static_pad("src").get_current_caps()
    pipeline.set_state(Gst.State.NULL)
    return report(name, caps, units, failure)


def report(name, caps, units, failure):
    """Prints the findings; the exit code."""
    print(f"GStreamer        {Gst.version_string()}")
    print(f"encoder          {name}")
    if failure:
        print(f"FAILED           {failure[0]}")
    if not units:
        print("FAILED           not one picture came out: without a level, or below 10 a second, the Pi's driver does that")
        return 1
    shape = caps.get_structure(0)
    print(f"profile, level   {shape.get_string('profile')}, {shape.get_string('level')}")
    print(f"first picture    after {units[0][0]:.2f} s, {'a keyframe' if units[0][2] else 'NO KEYFRAME'}")
    print("keyframes at     " + ", ".join(f"{at:.2f}" for at, _, key in units if key) + " s")

    def after(asked, until):
        came = [at for at, _, key in units if key and asked <= at < until]
        return f"a keyframe {1000 * (came[0] - asked):.0f} ms later" if came else "NO KEYFRAME"

    print(f"asked by event   {after(EVENT_AT, CONTROL_AT)}")
    by_control = after(CONTROL_AT, LOW_AT) if name == "v4l2h264enc" else "not with this encoder"
    print(f"asked by control {by_control}")

    def kbps(start, end):
        return sum(size for at, size, _ in units if start <= at < end) * 8 / (end - start) / 1000

    print(f"bitrate          {kbps(1, 4):.0f} kbit/s at {FULL // 1000}; {kbps(LOW_AT + 2, END_AT):.0f} at {LOW // 1000}")
    times = [at for at, _, _ in units]
    longest = max((later - earlier for earlier, later in zip(times, times[1:])), default=0)
    print(f"pictures         {len(units)}, {len(units) / max(times[-1] - times[0], 0.001):.1f} a second, longest gap {longest:.2f} s")
    stalled = times[-1] < END_AT - 2
    if stalled:
        print(f"FAILED           nothing after {times[-1]:.1f} s")
    return 1 if failure or stalled else 0


if __name__ == "__main__":
    sys.exit(main())
