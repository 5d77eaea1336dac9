"""One call with a door through metered-realtime (tested with 1.0.2) and aiortc.

Joins the channel, sends a picture that changes between magenta and green and beeps of a known tone, counts
what the door sends, and ends when the door leaves. Prints one JSON object per line; the last is the report.
It knows nothing of the door protocol.
"""

import argparse
import asyncio
import fractions
import json
import time

import av
import numpy
from aiortc import MediaStreamTrack
from metered_realtime import MediaStream, MeteredPeer, PeerJoined, PeerLeft, Track

RATE = 48_000
PACE = 0.02
FPS = 10
LONGEST_CALL = 100
ENOUGH_VIDEO, ENOUGH_AUDIO = 20, 50


class Colours(MediaStreamTrack):
    """320x240, one second magenta, one second green."""

    kind = "video"

    def __init__(self):
        super().__init__()
        self.count = 0
        self.begin = None

    async def recv(self):
        self.begin = self.begin or time.monotonic()
        await asyncio.sleep(max(0, self.begin + self.count / FPS - time.monotonic()))
        colour = (255, 0, 255) if (self.count // FPS) % 2 == 0 else (0, 255, 0)
        frame = av.VideoFrame.from_ndarray(numpy.full((240, 320, 3), colour, numpy.uint8), format="rgb24")
        frame.pts, frame.time_base = self.count * 90_000 // FPS, fractions.Fraction(1, 90_000)
        self.count += 1
        return frame


class Beeps(MediaStreamTrack):
    """48 kHz mono, 20 ms at a time."""

    kind = "audio"

    def __init__(self, hertz):
        super().__init__()
        self.hertz = hertz
        self.count = 0
        self.begin = None

    async def recv(self):
        self.begin = self.begin or time.monotonic()
        await asyncio.sleep(max(0, self.begin + self.count * PACE - time.monotonic()))
        size = int(RATE * PACE)
        at = (numpy.arange(size) + self.count * size) / RATE
        wave = numpy.sin(2 * numpy.pi * self.hertz * at) * ((at % 0.5) < 0.3) * 12_000
        frame = av.AudioFrame.from_ndarray(wave.astype(numpy.int16).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.count * size, fractions.Fraction(1, RATE)
        self.count += 1
        return frame


class Received:
    """What came from the door."""

    def __init__(self):
        self.video_frames = self.audio_frames = 0
        self.line = []
        self.sound = numpy.zeros(0)
        self.enough = asyncio.Event()

    async def take(self, track):
        try:
            while True:
                frame = await track.recv()
                (self.see if track.kind == "video" else self.hear)(frame)
                if self.video_frames >= ENOUGH_VIDEO and self.audio_frames >= ENOUGH_AUDIO:
                    self.enough.set()
        except Exception as end:  # aiortc ends a track with an exception of its own
            say("track-ended", kind=track.kind, why=type(end).__name__)

    def see(self, frame):
        self.video_frames += 1
        picture = frame.to_ndarray(format="rgb24")
        columns = numpy.linspace(0, picture.shape[1] - 1, 64).astype(int)
        self.line = picture[picture.shape[0] // 4, columns].tolist()

    def hear(self, frame):
        self.audio_frames += 1
        channels = len(frame.layout.channels)
        samples = frame.to_ndarray().reshape(-1).astype(float)
        mono = samples[::channels] if frame.format.is_packed else samples[: frame.samples]
        self.sound = numpy.concatenate([self.sound, mono])[-frame.sample_rate:]
        self.rate = frame.sample_rate

    def hertz(self):
        if self.sound.size == 0:
            return 0.0
        power = numpy.abs(numpy.fft.rfft(self.sound * numpy.hanning(self.sound.size)))
        return float(numpy.fft.rfftfreq(self.sound.size, 1 / self.rate)[int(power.argmax())])


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


async def main(args):
    received, tasks, left = Received(), [], asyncio.Event()
    async with MeteredPeer(api_key=args.key, url=args.url) as peer:

        @peer.on(PeerJoined)
        def _(joined):
            say("peer-joined", id=joined.peer.id)

            @joined.peer.on(Track)
            def _(got):
                say("track", kind=got.track.kind, streams=[stream.id for stream in got.streams])
                tasks.append(asyncio.create_task(received.take(got.track)))

        @peer.on(PeerLeft)
        def _(gone):
            left.set()

        peer.add_stream(MediaStream([Colours(), Beeps(args.tone)]), {"role": "camera"})
        await peer.join(args.channel)
        say("joined", id=peer.peer_id)
        await asyncio.wait_for(received.enough.wait(), LONGEST_CALL)
        say("received")
        await asyncio.wait_for(left.wait(), LONGEST_CALL)
    for task in tasks:
        task.cancel()
    say("report", video_frames=received.video_frames, audio_frames=received.audio_frames,
        line=received.line, hertz=received.hertz(), door_left=left.is_set())


parser = argparse.ArgumentParser(description=__doc__)
for name in ("url", "key", "channel"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--tone", type=float, default=440)
asyncio.run(main(parser.parse_args()))
