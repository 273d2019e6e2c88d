"""A client of the library `websockets`, for a server that sends its name and then echoes messages.

Arguments: URL, value of X-User, expected name of the server.
"""

import asyncio
import os
import sys

import websockets

MESSAGES = [
    "",
    "text: ü",
    b"\0\xff" * 100,
    "x" * 125,
    "x" * 126,
    b"y" * 65535,
    b"z" * 65536,
    os.urandom(3 << 20),
]


async def run(url, user, expected, compression):
    options = {"extra_headers": {"X-User": user}, "compression": compression, "max_size": None}
    async with websockets.connect(url, **options) as server:
        assert await server.recv() == expected
        for message in MESSAGES:
            await server.send(message)
            assert await server.recv() == message, "the echo differs"
        # In fragments.
        await server.send(["one ", "two ", "three"])
        assert await server.recv() == "one two three"
        await (await server.ping(b"are you there?"))
        # Both sides send at the same time.
        many = [os.urandom(n * 37 % 5000) for n in range(500)]

        async def send_all():
            for message in many:
                await server.send(message)

        sending = asyncio.create_task(send_all())
        for message in many:
            assert await server.recv() == message, "one of many echoes differs"
        await sending
    assert server.close_code == 1000, server.close_code


async def main():
    for compression in ["deflate", None]:
        await run(*sys.argv[1:], compression)


asyncio.run(main())
