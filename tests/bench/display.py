"""The eye before a door's display: reads the clock in each picture that the door shows, and tells its age.

A door hands its pictures over on a shared-memory socket, in grey. It is no part of any door: its work is not counted. Ends with
its standard input. One line for each picture: {"event":"age","age":17}.
"""

import json
import os
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import Gst, GstApp  # noqa: E402, F401
from timecode import age  # noqa: E402

WIDTH, HEIGHT = 640, 480


def look(sink):
    now = time.time() * 1000
    sample = sink.emit("pull-sample")
    shown, picture = sample.get_buffer().map(Gst.MapFlags.READ)
    if shown:
        old = age(picture.data, WIDTH, HEIGHT, now)
        sample.get_buffer().unmap(picture)
        if old is not None:
            print(json.dumps({"event": "age", "age": old}), flush=True)
    return Gst.FlowReturn.OK


def watch(path):
    """As long as the door shows something there."""
    pipeline = Gst.parse_launch(
        f"shmsrc socket-path={path} is-live=true ! video/x-raw,format=GRAY8,width={WIDTH},height={HEIGHT},framerate=0/1 "
        "! appsink name=eye emit-signals=true sync=false max-buffers=1 drop=true"
    )
    pipeline.get_by_name("eye").connect("new-sample", look)
    pipeline.set_state(Gst.State.PLAYING)
    pipeline.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, Gst.MessageType.ERROR | Gst.MessageType.EOS)
    pipeline.set_state(Gst.State.NULL)


def until_end():
    sys.stdin.read()
    os._exit(0)


Gst.init(None)
threading.Thread(target=until_end, daemon=True).start()
print('{"event":"ready"}', flush=True)
while True:
    if os.path.exists(sys.argv[1]):
        watch(sys.argv[1])
    time.sleep(0.01)
