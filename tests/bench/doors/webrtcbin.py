"""A door on GStreamer's webrtcbin: one encoder for all phones, a webrtcbin for each, and as much of the service's
protocol as a call needs. Its socket stays open between calls; a press enters the channel and starts the camera. It
always makes the offer. Commands on standard input: press, hangup."""

import argparse
import asyncio
import json
import sys
import threading
import uuid

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402
import websockets  # noqa: E402

SENDING = """
 shmsrc socket-path={camera} is-live=true do-timestamp=true ! video/x-raw,format=I420,width={width},height={height},framerate=30/1
 ! queue max-size-buffers=2 leaky=downstream
 ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=1200 key-int-max=600 ! video/x-h264,profile=constrained-baseline
 ! rtph264pay config-interval=-1 aggregate-mode=zero-latency pt=96
 ! application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000 ! tee name=video allow-not-linked=true
 audiotestsrc is-live=true freq=440 ! audio/x-raw,rate=48000,channels=1 ! opusenc ! rtpopuspay pt=97
 ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000 ! tee name=audio allow-not-linked=true
"""
PLAYING = {
    "H264": "queue ! rtph264depay ! avdec_h264 ! {display}",
    "VP8": "queue ! rtpvp8depay ! vp8dec ! {display}",
    "OPUS": "queue ! rtpopusdepay ! opusdec ! audioconvert ! fakesink sync=true",
}


def description(kind, text):
    _, sdp = GstSdp.SDPMessage.new_from_text(text)
    return GstWebRTC.WebRTCSessionDescription.new(kind, sdp)


class Phone:
    """One peer connection."""

    def __init__(self, door, peer):
        self.door, self.peer, self.early, self.answered = door, peer, [], False
        self.bin = Gst.ElementFactory.make("webrtcbin")
        self.bin.set_property("bundle-policy", "max-bundle")
        self.bin.set_property("latency", 60)
        self.queues = []
        door.pipeline.add(self.bin)
        for name in ("video", "audio"):
            queue = Gst.ElementFactory.make("queue")
            queue.set_property("leaky", 2)
            queue.set_property("max-size-buffers", 400)
            door.pipeline.add(queue)
            queue.get_static_pad("src").link(self.bin.request_pad_simple("sink_%u"))
            self.queues.append((door.pipeline.get_by_name(name), queue))
        self.bin.connect("on-ice-candidate", self.found)
        self.bin.connect("pad-added", self.play)
        # What flows comes last: a branch that does not run yet would stop the others.
        self.bin.sync_state_with_parent()
        for tee, queue in self.queues:
            queue.sync_state_with_parent()
            tee.request_pad_simple("src_%u").link(queue.get_static_pad("sink"))
        self.when_caps_are_known(200)

    def when_caps_are_known(self, tries):
        """webrtcbin can only offer what it knows the caps of, and the queues bring them from threads of their own."""
        known = all(queue.get_static_pad("src").get_current_caps() for _, queue in self.queues)
        if known or tries == 0:
            self.bin.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered))
        else:
            GLib.timeout_add(3, lambda: self.when_caps_are_known(tries - 1))
        return False

    def offered(self, promise, *_):
        # What a reply holds does not outlive it in Python: it stays until its text is copied.
        reply = promise.get_reply()
        text = reply.get_value("offer").sdp.as_text()
        self.door.send(self.peer, {"type": "rtc-description", "description": {"type": "offer", "sdp": text}})
        offer = description(GstWebRTC.WebRTCSDPType.OFFER, text)
        self.bin.emit("set-local-description", offer, Gst.Promise.new())

    def found(self, _, line, text):
        self.door.send(self.peer, {"type": "rtc-ice", "candidate": {"candidate": text, "sdpMid": None, "sdpMLineIndex": line}})

    def signal(self, data):
        kind = data.get("type")
        if kind == "rtc-description" and data["description"]["type"] == "answer":
            answer = description(GstWebRTC.WebRTCSDPType.ANSWER, data["description"]["sdp"])
            self.bin.emit("set-remote-description", answer, Gst.Promise.new())
            self.answered = True
            for candidate in self.early:
                self.bin.emit("add-ice-candidate", *candidate)
        elif kind == "rtc-ice" and (data.get("candidate") or {}).get("candidate"):
            candidate = (data["candidate"].get("sdpMLineIndex") or 0, data["candidate"]["candidate"])
            if self.answered:
                self.bin.emit("add-ice-candidate", *candidate)
            else:
                self.early.append(candidate)

    def play(self, _, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        name = pad.get_current_caps().get_structure(0).get_string("encoding-name").upper()
        branch = Gst.parse_bin_from_description(PLAYING[name].format(display=self.door.args.display), True)
        self.door.pipeline.add(branch)
        branch.sync_state_with_parent()
        pad.link(branch.get_static_pad("sink"))


class Door:
    """Camera, encoder and the phones."""

    def __init__(self, args, loop):
        self.args, self.loop, self.line, self.own = args, loop, None, None
        self.pipeline, self.phones = None, {}

    def send(self, peer, data):
        frame = json.dumps({"type": "send", "to": peer, "data": data, "requestId": uuid.uuid4().hex})
        asyncio.run_coroutine_threadsafe(self.line.send(frame), self.loop)

    async def press(self):
        self.pipeline = Gst.parse_launch(SENDING.format(camera=self.args.camera, width=self.args.width, height=self.args.height))
        self.pipeline.set_state(Gst.State.PLAYING)
        await self.line.send(json.dumps({"type": "subscribe", "channel": self.args.channel, "requestId": "in"}))

    async def hangup(self):
        await self.line.send(json.dumps({"type": "unsubscribe", "channel": self.args.channel, "requestId": "out"}))
        self.phones.clear()
        if self.pipeline is not None:
            pipeline, self.pipeline = self.pipeline, None
            await asyncio.to_thread(pipeline.set_state, Gst.State.NULL)
        print('{"event":"idle"}', flush=True)

    async def listen(self):
        async with websockets.connect(f"{self.args.url}/v1?key={self.args.key}") as self.line:
            async for text in self.line:
                frame = json.loads(text)
                if frame["type"] == "welcome":
                    self.own = frame["peerId"]
                    print('{"event":"ready"}', flush=True)
                elif frame["type"] == "presence" and self.pipeline is not None:
                    for peer in (joined["peerId"] for joined in frame.get("joined", [])):
                        if peer != self.own and peer not in self.phones:
                            self.phones[peer] = Phone(self, peer)
                elif frame["type"] == "direct" and frame["from"] in self.phones:
                    if isinstance(frame.get("data"), dict):
                        self.phones[frame["from"]].signal(frame["data"])


async def main(args):
    Gst.init(None)
    glib = GLib.MainLoop()
    threading.Thread(target=glib.run, daemon=True).start()
    loop, commands = asyncio.get_running_loop(), asyncio.Queue()

    def hear():
        for line in sys.stdin:
            loop.call_soon_threadsafe(commands.put_nowait, line.strip())
        loop.call_soon_threadsafe(commands.put_nowait, "quit")

    threading.Thread(target=hear, daemon=True).start()
    door = Door(args, loop)
    listening = asyncio.create_task(door.listen())
    while (command := await commands.get()) != "quit":
        await {"press": door.press, "hangup": door.hangup}[command]()
    listening.cancel()


arguments = argparse.ArgumentParser()
for name in ("url", "key", "channel", "camera"):
    arguments.add_argument(f"--{name}", required=True)
arguments.add_argument("--display", default="videoconvert ! fakesink sync=false")
arguments.add_argument("--width", default=640)
arguments.add_argument("--height", default=480)
asyncio.run(main(arguments.parse_args()))
