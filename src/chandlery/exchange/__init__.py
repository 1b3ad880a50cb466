"""The edge towards exchanges: asyncio, paced, and distrustful of every answer."""
