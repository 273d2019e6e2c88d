"""Talks by the library `websockets` to a server that says who it is, and then whatever it is told.

Arguments: URL, value of X-User, and who should answer.
"""

import asyncio
import os
import sys

import websockets

MESSAGES = ["", "text: ü", b"\0\xff" * 100, "x" * 125, "x" * 126, b"y" * 65535, b"z" * 65536, os.urandom(3 << 20)]


async def talk(url, user, expected, compression):
    headers = {"X-User": user}
    async with websockets.connect(url, extra_headers=headers, compression=compression, max_size=None) as server:
        assert await server.recv() == expected
        for message in MESSAGES:
            await server.send(message)
            assert await server.recv() == message, "another message"
        # In fragments.
        await server.send(["one ", "two ", "three"])
        assert await server.recv() == "one two three"
        await (await server.ping(b"are you there?"))
        # Both speak at the same time.
        many = [os.urandom(n * 37 % 5000) for n in range(500)]

        async def say():
            for message in many:
                await server.send(message)

        saying = asyncio.create_task(say())
        for message in many:
            assert await server.recv() == message, "another one of many"
        await saying
    assert server.close_code == 1000, server.close_code


async def main():
    for compression in ["deflate", None]:
        await talk(*sys.argv[1:], compression)


asyncio.run(main())
