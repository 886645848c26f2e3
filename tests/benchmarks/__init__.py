"""Streamkit against the classes it replaces, on real servers over loopback.

Run from the top of a checkout with the groups `test` and
`benchmarks` installed (Linux: some figures are from /proc):

    python -m tests.benchmarks                    every job
    python -m tests.benchmarks core               one group: core, trickle, small, files, formats,
                                                  live or growth
    python -m tests.benchmarks trickle-async      less than a minute; so is any of trickle and small
    python -m tests.benchmarks sync-lines memory  jobs by name or by the beginning of a name
    python -m tests.benchmarks --list             what there is
    python -m tests.benchmarks core --markdown    the table alone
    python -m tests.benchmarks --report docs/benchmarks.md

The last takes 22 minutes of two cores that nobody else uses, and writes a page with two charts
beside it: how many times as fast as each peer, and, in `growth.svg`, how cost grows with the number
of streams. With `--from FILE` it shows what `--json FILE` kept, and measures nothing.

`--rounds N` changes how often each side runs, `--quick` does a fraction of the work (a smoke
test, not a figure to quote), `--json FILE` keeps the raw figures and the versions they belong to.
Peers outside the groups `test` and `benchmarks` (nginx and redis-server from the system), and those
that are not installed, are reported as skipped. The client of *small* is wrk where it is
installed.

How to read the table
    Each job runs the peer and streamkit in turn (A B A B ...): the same work on the same uvicorn
    (uvloop and httptools where installed), a process for each side, after a warm-up in which both
    bodies are read in full and compared. The client is this process: raw sockets, no library.
    *peer's* and *ours* are medians. A figure in something a second is better when higher, any other
    when lower. *ratio* is the median over the rounds of ours / peer's of the same round, *range*
    its least and greatest: on a busy machine it holds far better than the figures do. *goal* is
    what the project set itself: at least so many times the peer's rate, at most such a part of its
    memory, at most so much. A peer that would take minutes does a share of the work, named in its
    row; rates make it comparable. Nothing here asserts a time: it is a report.

    The *floor* of *trickle* and *small* is a bare ASGI app that sends the same bytes in as few
    messages as can be: what is left is the cost of the server and of the content. Processor time
    (*µs/item*, *µs/request*) is that of the server's process. It changes less than requests a
    second where other programs use the processor too.

    The group *growth* needs as many open files as streams, in the client and in the server: both
    raise their soft limit to the hard one (`ulimit -Hn`, 10,100 for all of it).

Add a job: an entry in `jobs/`, and a route in `apps/` where it needs one.
"""
