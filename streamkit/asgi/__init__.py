"""The ASGI side of a response: messages out, the disconnect in, and how a body is cut.

writer.py       the messages of one response, in order
listen.py       waits for the disconnect, and shares the request's body
truncate.py     makes the end of a failed body visible to the client
connection.py   the client's socket, where it can be found
listeners.py    the server's listening sockets, where they can be found
"""
