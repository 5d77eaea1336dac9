"""A door on the Python SDK (metered-realtime[webrtc], aiortc), written after its documentation: on a press it joins the
channel with camera and microphone and takes what comes. Commands on standard input: press, hangup."""

import argparse
import asyncio
import json
import socket
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy
from aiortc import VideoStreamTrack
from metered_realtime import AudioSource, MediaStream, MeteredPeer, PeerJoined, Track, iter_frames

sys.path.insert(0, str(Path(__file__).parent.parent))
from timecode import age  # noqa: E402

WIDTH, HEIGHT, RATE = 640, 480, 30
SIZE = WIDTH * HEIGHT * 3 // 2
TONE = (6_000 * numpy.sin(2 * numpy.pi * 440 * numpy.arange(960) / 48_000)).astype("<i2").tobytes()


class Camera(VideoStreamTrack):
    """The newest frame of the bench's camera, read by a thread of its own as the SDK's own players do."""

    def __init__(self, path):
        super().__init__()
        self.count, self.frames = 0, asyncio.Queue(maxsize=1)
        self.line = socket.socket(socket.AF_UNIX)
        self.line.connect(path)
        loop = asyncio.get_running_loop()
        threading.Thread(target=self.read, args=(loop,), daemon=True).start()

    def read(self, loop):
        try:
            with self.line, self.line.makefile("rb") as source:
                while len(data := source.read(SIZE)) == SIZE:
                    loop.call_soon_threadsafe(self.put, data)
        except (OSError, RuntimeError):
            # The call, or the program, is over.
            pass

    def put(self, data):
        if self.frames.full():
            self.frames.get_nowait()
        self.frames.put_nowait(data)

    async def recv(self):
        data = await self.frames.get()
        picture = numpy.frombuffer(data, numpy.uint8).reshape(HEIGHT * 3 // 2, WIDTH)
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = self.count * 90_000 // RATE, Fraction(1, 90_000)
        self.count += 1
        return frame

    def stop(self):
        super().stop()
        try:
            self.line.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It is closed already.
            pass


def tell_age(frame):
    luma = frame.to_ndarray(format="gray")
    old = age(luma.tobytes(), frame.width, frame.height, time.time() * 1000)
    if old is not None:
        print(json.dumps({"event": "age", "age": old}), flush=True)


async def main(args):
    loop, commands = asyncio.get_running_loop(), asyncio.Queue()

    def listen():
        for line in sys.stdin:
            loop.call_soon_threadsafe(commands.put_nowait, line.strip())
        loop.call_soon_threadsafe(commands.put_nowait, "quit")

    threading.Thread(target=listen, daemon=True).start()
    print('{"event":"ready"}', flush=True)
    peer, tone = None, None
    while (command := await commands.get()) != "quit":
        if command == "press":
            peer = MeteredPeer(api_key=args.key, url=args.url)
            microphone = AudioSource(input_rate=48_000)

            async def hum(microphone=microphone):
                while True:
                    await microphone.push(TONE)

            tone = asyncio.create_task(hum())
            peer.add_stream(MediaStream([Camera(args.camera), microphone]), {"role": "camera"})

            @peer.on(PeerJoined)
            def _(joined):
                @joined.peer.on(Track)
                async def _(event):
                    async for frame in iter_frames(event.track):
                        if args.ages and event.track.kind == "video":
                            tell_age(frame)

            await peer.join(args.channel)
        elif command == "hangup" and peer is not None:
            tone.cancel()
            await peer.close()
            peer = None
            print('{"event":"idle"}', flush=True)


arguments = argparse.ArgumentParser()
for name in ("url", "key", "channel", "camera"):
    arguments.add_argument(f"--{name}", required=True)
arguments.add_argument("--ages", action="store_true", help="tell how old each picture of the phone is")
asyncio.run(main(arguments.parse_args()))
