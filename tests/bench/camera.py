"""The camera of every door in the bench: a moving picture with a clock in it, 30 times a second.

Offers each frame on a shared-memory socket, for GStreamer, and on a Unix socket as raw I420, for programs that have
no GStreamer. It is no part of any door: its work is not counted. Ends with its standard input.
"""

import argparse
import os
import socket
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

from timecode import row  # noqa: E402


def pictures(width, height, count):
    """A textured scene that moves, so that encoders have something to do. I420."""
    luma_rows, frames = height * 2 // 3, []
    noise = bytearray(os.urandom(width * 4))
    for n in range(count):
        frame = bytearray()
        for y in range(height):
            line = bytearray((64 + (x + 3 * n + (y * y >> 5)) % 128) & 255 for x in range(width))
            if y > luma_rows:
                at = (y * 37) % (3 * width)
                line[: width // 3] = bytes(96 + (b >> 3) for b in noise[at : at + width // 3])
            frame += line
        frame += bytes([110 + n % 24]) * (width * height // 4) + bytes([140 - n % 24]) * (width * height // 4)
        frames.append(frame)
    return frames


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--shm", required=True)
    args.add_argument("--raw", required=True)
    args.add_argument("--size", default="640x480")
    args = args.parse_args()
    width, height = map(int, args.size.split("x"))
    Gst.init(None)
    pipeline = Gst.parse_launch(
        f"appsrc name=in is-live=true format=time do-timestamp=true max-buffers=1 leaky-type=downstream "
        f"caps=video/x-raw,format=I420,width={width},height={height},framerate=30/1 "
        f"! shmsink socket-path={args.shm} shm-size={width * height * 24} sync=false wait-for-connection=false"
    )
    source = pipeline.get_by_name("in")
    pipeline.set_state(Gst.State.PLAYING)
    newest, fresh = [b"", 0], threading.Condition()

    def serve(taker):
        """The newest frame each time: who is slow gets fewer, and holds up nobody."""
        seen = 0
        try:
            while True:
                with fresh:
                    fresh.wait_for(lambda: newest[1] > seen)
                    data, seen = newest
                taker.sendall(data)
        except OSError:
            taker.close()

    def accept():
        server = socket.socket(socket.AF_UNIX)
        server.bind(args.raw)
        server.listen()
        while True:
            taker, _ = server.accept()
            threading.Thread(target=serve, args=(taker,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()

    def until_end():
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=until_end, daemon=True).start()
    frames, begin, count = pictures(width, height, 8), time.monotonic(), 0
    print('{"event":"ready"}', flush=True)
    while True:
        wait = begin + count / 30 - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        frame = frames[count % len(frames)]
        frame[: width * (height // 15)] = row(width, time.time() * 1000) * (height // 15)
        data = bytes(frame)
        source.emit("push-buffer", Gst.Buffer.new_wrapped(data))
        count += 1
        with fresh:
            newest[:] = data, count
            fresh.notify_all()


main()
