"""A server of the library `websockets`: says who it is, and then whatever it is told."""

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
    # Who says hello only does not wait for long to be told goodbye.
    async with websockets.serve(serve, None, 8080, max_size=None, close_timeout=0.2):
        await asyncio.Future()


asyncio.run(main())
