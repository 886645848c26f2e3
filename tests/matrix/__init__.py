"""The matrix of cuts: no way out of a stream may look like its end.

    python -m tests.matrix

A cell is one response: a *way* out of it (`ways.py`), a *stack* of middlewares around it
(`stacks.py`), a *server* (`servers.py`), a *client* that reads or stalls (`client.py`), with or
without `streamkit.Honest` as the outermost wrapper. Its verdict is what the client can know:

| verdict | the client saw |
|---|---|
| whole | the body, complete |
| cut | an end that is visibly broken: no last chunk, too few bytes, a reset |
| status | an error status |
| CLEAN END | a part, ended as if it were the whole: a lie |
| HANG | no end at all, although the app has returned |
| NOT CLOSED | any of the above, but the content was not closed once, or `on_close` not told once |

The last three fail. `exceptions.py` names the cells that a server or a middleware makes
impossible, each with its reason.
"""
