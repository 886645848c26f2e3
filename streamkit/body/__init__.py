"""Bodies: the encoded chunks of one content, and who makes, drives and closes it.

base.py       what a body offers, and how items become chunks
of.py         which body a content gets
stepped.py    async content on asyncio, driven by hand in the task that sends
pumped.py     async content in a task that fills a queue: on trio, or for a thread
threaded.py   sync content on worker threads, in bursts
source.py     a source and its plan, as async content
queue.py      the queue between a thread and the loop
"""
