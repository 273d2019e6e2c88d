"""A server of the library `websockets`: sends its name, then echoes each message."""

import asyncio
import os

import websockets


async def serve(connection):
    await connection.send(os.environ["TAG"])
    if connection.path == "/hello":
        return
    async for message in connection:
        await connection.send(message)


async def main():
    # For `/hello`, the server closes first, and does not wait long for the client's close frame.
    async with websockets.serve(serve, None, 8080, max_size=None, close_timeout=0.2):
        await asyncio.Future()


asyncio.run(main())
