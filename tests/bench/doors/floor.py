"""No door: what coding alone costs. The camera's picture through x264 and back, a tone through Opus and back, by the settings
of the GStreamer doors, and no more than that around them. Commands on standard input: press, hangup."""

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

Gst.init(None)
CODING = f"""
 shmsrc socket-path={sys.argv[1]} is-live=true do-timestamp=true ! video/x-raw,format=I420,width=640,height=480,framerate=30/1
 ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=1200 key-int-max=600 ! video/x-h264,profile=constrained-baseline
 ! avdec_h264 ! fakesink sync=false
 audiotestsrc is-live=true freq=440 ! audio/x-raw,rate=48000,channels=1 ! opusenc ! opusdec ! fakesink sync=false
"""
pipeline = None
print('{"event":"ready"}', flush=True)
for line in sys.stdin:
    command = line.strip()
    if command == "press":
        pipeline = Gst.parse_launch(CODING)
        pipeline.set_state(Gst.State.PLAYING)
    elif command == "hangup":
        if pipeline is not None:
            pipeline.set_state(Gst.State.NULL)
        pipeline = None
        print('{"event":"idle"}', flush=True)
