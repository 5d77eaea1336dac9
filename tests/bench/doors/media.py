"""Camera, encoder and decoders for `datachannel.mjs`: RTP on four UDP ports of 127.0.0.1. Commands on standard input:
start, stop, keyframe."""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstVideo  # noqa: E402

camera, base, width, height, display = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]
Gst.init(None)
SENDING = f"""
 shmsrc socket-path={camera} is-live=true do-timestamp=true ! video/x-raw,format=I420,width={width},height={height},framerate=30/1
 ! queue max-size-buffers=2 leaky=downstream
 ! x264enc name=encoder tune=zerolatency speed-preset=ultrafast bitrate=1200 key-int-max=600
 ! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 aggregate-mode=zero-latency pt=96 ssrc=1111 mtu=1200
 ! udpsink host=127.0.0.1 port={base} sync=false async=false
 audiotestsrc is-live=true freq=440 ! audio/x-raw,rate=48000,channels=1 ! opusenc ! rtpopuspay pt=97 ssrc=2222
 ! udpsink host=127.0.0.1 port={base + 1} sync=false async=false
 udpsrc port={base + 2} caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96
 ! rtpjitterbuffer latency=60 ! rtph264depay ! avdec_h264 ! {display}
 udpsrc port={base + 3} caps=application/x-rtp,media=audio,clock-rate=48000,encoding-name=OPUS,payload=97
 ! rtpjitterbuffer latency=60 ! rtpopusdepay ! opusdec ! audioconvert ! fakesink sync=true async=false
"""
pipeline = None
print('{"event":"ready"}', flush=True)
for line in sys.stdin:
    command = line.strip()
    if command == "start" and pipeline is None:
        pipeline = Gst.parse_launch(SENDING)
        pipeline.set_state(Gst.State.PLAYING)
    elif command == "stop" and pipeline is not None:
        pipeline.set_state(Gst.State.NULL)
        pipeline = None
    elif command == "keyframe" and pipeline is not None:
        event = GstVideo.video_event_new_upstream_force_key_unit(Gst.CLOCK_TIME_NONE, True, 0)
        pipeline.get_by_name("encoder").get_static_pad("src").send_event(event)
