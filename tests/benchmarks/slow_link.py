"""A link to a server on which each request arrives a while later, as in another data centre: a proxy in a process of its own.

What is sent is held, not slowed down: much can be under way at a time.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_BLOCK = 1 << 18


@contextmanager
def slow_link(uri: str, milliseconds: float) -> Iterator[str]:
    """A server behind a slow link, for as long as the context lasts: its connection string."""
    server = urlsplit(uri)
    command = [sys.executable, "-m", "tests.benchmarks.slow_link", str(server.port), str(milliseconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            port = int(proxy.stdout.readline())
            # Directly: the replica set would name its own address, which is not behind the link.
            yield f"mongodb://127.0.0.1:{port}/?directConnection=true"
        finally:
            proxy.kill()


async def _serve(port: int, seconds: float) -> None:
    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass_on(reader, requests, seconds))
                group.create_task(_pass_on(answers, writer, 0))
        except* ConnectionError:
            # One side has ended the connection; the other one is closed below.
            pass
        finally:
            requests.close()
            writer.close()

    listener = await asyncio.start_server(join, "127.0.0.1", 0, limit=_BLOCK)
    sys.stdout.write(f"{listener.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await listener.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Pass everything on, each part so much later than it came."""
    loop = asyncio.get_running_loop()
    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def hold() -> None:
        while data := await reader.read(_BLOCK):
            held.put_nowait((loop.time() + seconds, data))
        held.put_nowait((loop.time(), b""))

    async with asyncio.TaskGroup() as group:
        group.create_task(hold())
        while True:
            due, data = await held.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
